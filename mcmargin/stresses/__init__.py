"""Scenarios that are given, not simulated, and the losses in them.

In: a policy's stress part, a market, and the history of a model. Out: sets of scenarios, and the
worst loss of every margin unit in each of them.

stress_scenarios   sets of the stress scenarios that a policy asks for
stress_grids       scenario grids that exchanges publish: moves of an underlying's price and implied
                   volatility
stress_losses      what each margin unit loses in the worst scenario of every set
"""
