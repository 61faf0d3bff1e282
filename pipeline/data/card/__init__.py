"""The data card: README.md of a data set, with its figures."""
