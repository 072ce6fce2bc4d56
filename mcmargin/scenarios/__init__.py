"""Draws of a model: simulated market moves of all assets on the same paths.

In: a `MarketModel` and a `SimulationPlan`. Out: `Scenarios`. They are draws and nothing else: what
they mean for prices and instruments stands in valuing/.

simulation      from a model and a seed to scenarios of all assets together
scenarios       simulated market moves of all assets on the same paths
companions      a model at the volatility of other times, for a policy's floor and stressed period
named_draws     draws that belong to a name: of a contract's basis, a currency's rate, a
                stablecoin's jump
kept            what is made of scenarios once and asked for again, such as their closes
limited_words   how many paths a simulation limited, in words
"""
