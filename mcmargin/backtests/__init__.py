"""Whether margins covered what happened, and which model is better.

In: prices, portfolios, and models that can fit and forecast; or arrays of profit and loss and of
what was forecast for them. Out: a `BacktestResult` with tests, scores, published tables and a page;
or small frozen results, each with a statistic, a p-value and a verdict.

backtest          backtest(): walk forward through history with several models
walking           pieces of a walk, each of which can be done alone, on any process
resuming          which arguments a folder is of, and that one process alone walks in it
competing         what a model must do to take part, and the model of this package
peers             the models that a user would otherwise run, for comparison
backtest_result   what a backtest found, with all that one asks of it
backtest_values   what a backtest found, as values
backtest_file     TOML that says what to walk through, with which portfolios and models
backtest_page     the page: which model is better, whether margins covered, how they moved
backtest_charts   charts of the page
margin_at         margin_at(): the margin of any book on any past date

observations      profit and loss beside the forecasts that were made for it, checked and paired
coverage          tests of how often losses exceeded value at risk, and whether they came together
shortfall         tests of how large the losses beyond value at risk were
e_values          tests that may be looked at on every date, by betting against the forecast
scores            how good forecasts were, date by date, and which of two was better
judging           coverage, tests, scores and comparisons of a whole backtest
disclosure        what a clearing house publishes: coverage by month, procyclicality, responsiveness
"""
