"""Figures of fields, particles, spectra and curves."""
