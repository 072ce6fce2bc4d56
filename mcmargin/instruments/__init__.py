"""Terms of spot, perpetual, future and option, and what one unit gains.

In: terms, or a file of instruments. Out: instruments, which ask a market in scenarios for what they
need through one small protocol, `paths.Paths`.

instruments        what one unit of each instrument is worth today, and what it gains in scenarios
terms              what the fields of an instrument must be, and how long it still runs
linear             assets that are held outright, and contracts on a price: spot, balances,
                   perpetuals, futures
option             European options on spot or on a future, valued by the formula of Black (1976)
paths              what an instrument asks of the market in scenarios, to be valued in all of them
                   at once
instrument_files   from TOML, CSV or Parquet to checked instruments
"""
