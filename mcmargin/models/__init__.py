"""From prices to a calibrated market: fits, distributions, dependence, and the model itself."""
