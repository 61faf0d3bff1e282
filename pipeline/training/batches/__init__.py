"""Batches of training windows: order, loading and augmentation."""
