"""Output on a coarser grid: cell averages, spectral truncation, and means of conductivities."""
