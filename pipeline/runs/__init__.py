"""The run folder: its records, locks and progress."""
