"""Common code of the benchmarks: timing, results and peers."""
