"""The configuration of a run: composed by Hydra, checked, and turned into solvers and surrogates."""
