"""Time-stepping schemes for the heat equation."""
