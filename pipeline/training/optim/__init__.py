"""Optimisers, averages of the weights and weights of the losses."""
