"""Markets in scenarios, and the values of all instruments there.

In: instruments, a market, and scenarios that are simulated or given. Out: what one unit of each is
worth today, and its gain in every scenario; each instrument is valued once for all accounts.

valuation           the value of each instrument on every path, in the market's currency
instrument_values   what one unit of each instrument is worth today, and how much it gains in
                    scenarios
scenario_market     the market on simulated paths, at any horizon
shocked_market      the market in scenarios that are given, not simulated
outlooks            what a model expects of variances, and how implied volatility moves with them
memory              work under a memory limit, which is lowered where the memory does not suffice
"""
