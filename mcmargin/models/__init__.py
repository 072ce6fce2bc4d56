"""From prices to a calibrated market.

In: a `PriceHistory`. Out: a `MarketModel`, which `calibrate` fits, `update` moves to newer closes,
and a file holds exactly. Its volatility, innovations and dependence are what the engines simulate.

calibration          from a price history to a MarketModel, with one fit by arch for each asset
calibration_checks   what a calibration refuses before it fits: short or halted histories, and rows
                     within a bar
fitting              a chain of fits, of which the first sound one is used
arch_fits            one fit by `arch`, and whether it is sound
refiltering          a fit of an asset's own bars, carried to bars that are common to several assets

volatility           every kind of recursion, what it needs, and the filter that runs it
innovations          standardised innovations of one asset: their distribution function, quantiles
                     and moments
dependence           a copula's correlation and degrees of freedom, or whole dates
scores               from the correlation of normal scores to the correlation of a t copula
marginals            marginal transforms, and the mixing variable of the t copula
variance_chain       expected variances of a recursion that is capped as in simulation, from any
                     variance on
variance_outlook     expected average variance of one asset over bars to come, capped as in
                     simulation

model                a calibrated market that is updated, saved, and tells of itself
model_values         what a calibrated model holds: its values, their arrays for a file, and their
                     fingerprint
history              the joint returns that a model has seen, with the variances of its filter
updating             a model moved to newer closes by its own recursions, or to a tick within the
                     bar
update_records       record of a model's updates since its calibration: bars taken in, dates lost,
                     dates that wait
repeats              rows of an update that the model knows already, at another time
possible             impossible prices and states, which are refused before a model takes them in
closing_times        whether a row of prices is a close, or a tick within a bar that has not ended
halts                prices that stand still for long, although the asset used to move
doubts               moves, halts and gaps in a model's prices that may be wrong, but are not
                     refused

model_file           a `MarketModel` read from one npz, after a check of every field
model_checks         the arrays of a model file: their types and shapes, and what `calibrate` can
                     have written
model_meta           the words of a model file: their types, and what `calibrate` and `update` can
                     have written
archive              arrays by name in one npz file, exact, checked by a digest, and never a pickle
"""
