"""Prices, rates, liquidity and implied volatility at one moment."""
