"""Device-dependent parts of training: precision, compilation and memory."""
