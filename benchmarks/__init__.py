"""Measured claims, one file each: our code and a peer run in turn, after a check that both results agree."""
