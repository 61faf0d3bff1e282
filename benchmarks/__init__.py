"""Benchmarks, one file for each claim: our code and a peer run alternately if both results agree."""
