"""Timing, results and peers that benchmarks share."""
