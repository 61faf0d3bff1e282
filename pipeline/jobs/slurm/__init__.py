"""The stages as a chain of Slurm jobs."""
