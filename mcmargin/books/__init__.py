"""Accounts, positions, orders and balances, and what is margined as one."""
