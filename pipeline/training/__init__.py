"""The training of a surrogate: loop, steps, state, checkpoints, validation and ensembles."""
