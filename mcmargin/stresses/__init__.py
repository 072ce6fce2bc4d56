"""Losses under stress, and the resources held against them."""
