"""Generation of trajectories, shard by shard."""
