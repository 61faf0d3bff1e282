"""Batch scripts, one a stage; `pipeline.chain launcher=slurm` submits the same ones."""
