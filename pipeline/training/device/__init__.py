"""What depends on the device: precision, compilation and memory."""
