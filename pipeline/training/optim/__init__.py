"""Second-order optimisers, the moving average of the weights, and the weights of the losses."""
