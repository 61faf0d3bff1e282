"""The HDF5 format of a shard."""
