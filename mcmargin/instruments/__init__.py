"""Terms of spot, perpetual, future and option, and what one unit gains.

In: terms, or a file of instruments. Out: instruments, which ask a market in scenarios for what they
need through one small protocol, `paths.Paths`.

instruments        what one unit of each is worth today, and what it gains in scenarios
terms              what their fields must be, and the time that they have left
linear             assets that are held outright, and contracts on a price: spot, balances,
                   perpetuals, futures
option             European options on spot or on a future, valued by Black (1976) in every scenario
paths              what an instrument asks of the market in scenarios, to be valued in all of them
                   at once
instrument_files   from TOML, CSV or Parquet to checked instruments
"""
