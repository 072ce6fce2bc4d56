"""What is computed from numbers alone, on numpy or cupy arrays alike.

In: arrays. Out: arrays, or tails with their Monte Carlo errors. Nothing here knows an asset, an
account or a file.

arrays          arrays of numpy and of cupy, treated alike
chunks          elementwise kernels in pieces that stay in the processor's cache
normal          the normal distribution function, made of array operations only
option_inputs   checks of the inputs of option formulas
black           value and sensitivities of European options on a forward, undiscounted
implied         the volatility at which Black (1976) gives a price
selection       the worst losses of each row, found at once or while the paths come in blocks
tail            value at risk and expected shortfall of simulated losses, with Monte Carlo errors
"""
