"""The data set on disk: its format, manifest, statistics and the reader for training."""
