"""Members that take the place of a solver: `solver=NAME` finds the class NAME in the module NAME."""
