"""Ranks from any launcher, and work handed out over groups of them."""
