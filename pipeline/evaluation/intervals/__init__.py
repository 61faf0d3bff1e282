"""How sure a surrogate is: intervals, unusual inputs, expected errors, and what a prediction depends on."""
