"""The groups of the Hydra configuration; Hydra reads this package as pkg://configs."""
