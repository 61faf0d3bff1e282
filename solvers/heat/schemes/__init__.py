"""Time-stepping schemes of the heat equation."""
