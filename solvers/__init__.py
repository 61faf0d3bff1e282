"""Physics: equations, their discretisations and their domain decomposition."""
