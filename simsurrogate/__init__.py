"""The ground floor that solvers, surrogates and the pipeline share."""
