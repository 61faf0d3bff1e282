"""Ranks under any launcher, and the distribution of tasks to groups of ranks."""
