"""From a model and a seed to scenarios: the random stream, the plan, simulate()."""
