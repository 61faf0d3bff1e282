"""Hydra groups, one YAML a choice; read as pkg://configs."""
