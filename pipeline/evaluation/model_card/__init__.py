"""The model card: README.md of a model, in the form that hubs of models read."""
