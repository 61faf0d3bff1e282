"""The pictures of trajectories in the report."""
