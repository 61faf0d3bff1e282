"""Batches of training windows: their order, their loading and what is added to them."""
