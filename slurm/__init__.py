"""Batch scripts, one for each stage. `pipeline.chain launcher=slurm` submits the same scripts."""
