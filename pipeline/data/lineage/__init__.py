"""The lineage of data and models: their ancestors, and the guard of the training against model output."""
