"""Readers of foreign files, one module a layout. They run in a process with limits, see `adoption.serve`."""
