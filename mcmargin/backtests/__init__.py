"""Whether margins covered what happened: tests of coverage and of expected shortfall, and scores.

observations   profit and loss beside the forecasts that were made for it, checked and paired
coverage       tests of how often losses exceeded value at risk, and whether they came in clusters
shortfall      tests of how large the losses beyond value at risk were, against expected shortfall
e_values       tests that may be looked at every day, by betting against the forecast
scores         how good a forecast was, date by date, and which of two forecasts was better

In: arrays of profit and loss, and of the value at risk and expected shortfall that a model gave for
the same dates. Out: small frozen results, each with a statistic, a p-value and a verdict. Nothing
here knows which model made the forecasts.
"""
