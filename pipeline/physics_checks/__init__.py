"""Checks of the physics of a data set: by its solver, by its equation, and by the stored frames alone."""
