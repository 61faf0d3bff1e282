"""Trainings of the tests: data sets, options, and programs that train."""
