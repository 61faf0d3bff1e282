"""The stages from simulation to trained and evaluated surrogates, one module each."""
