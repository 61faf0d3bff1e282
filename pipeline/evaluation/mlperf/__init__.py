"""Numbers of the training for comparisons in the style of MLPerf."""
