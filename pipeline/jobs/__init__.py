"""Stages as processes on this machine or as Slurm jobs."""
