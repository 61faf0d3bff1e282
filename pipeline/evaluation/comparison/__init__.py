"""The comparison of several models and runs: a page, with the same numbers as CSV and JSON."""
