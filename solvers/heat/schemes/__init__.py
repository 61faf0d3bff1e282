"""Time integration schemes of the heat equation."""
