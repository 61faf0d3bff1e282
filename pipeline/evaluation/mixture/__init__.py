"""The evaluation on each data set of a mixture."""
