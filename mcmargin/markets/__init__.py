"""Prices, rates, liquidity and implied volatility at one moment.

In: numbers, or a market file with its quotes and order books. Out: a `Market`, checked against
itself, whose surfaces admit no arbitrage.

market          prices, rates and volatilities at one moment
market_parts    how a stablecoin may lose its peg, and how an instrument trades
market_terms    a market as the plain values that a report keeps, and back
market_files    a `Market` from a TOML file, and from the quotes and order books beside it
model_prices    the model's own latest prices, as a market
order_book      an instrument's order book, read from a file and checked

quotes          reads and checks quotes of implied volatility, and sorts them by expiry
arbitrage       static arbitrage between quotes of implied volatility
repair          repair of quotes that admit an arbitrage: the smallest change that removes it

surface         implied volatility over time and log-moneyness, from quotes
smile           implied volatility over log-moneyness at one time
interpolation   smiles through quotes, and surfaces of smiles, without arbitrage by construction
between         total variance is linear in time, and bridged where prices are not convex
convex          convex prices between two strikes, and beyond the outermost one, without arbitrage
otm             prices of out-of-the-money options from a smile, and the smile from such prices
"""
