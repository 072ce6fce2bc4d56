"""What decides the draws of a simulation, for every engine alike.

In: a seed, a number of paths, horizons. Out: the plan, and the address of every word of the random
stream. docs/design.md has the contract under 'The stream'.

plan            what, with the model, decides the scenarios to the last bit
random_stream   which word of the random generator belongs to which draw, in all engines
"""
