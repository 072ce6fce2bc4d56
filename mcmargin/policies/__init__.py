"""Margin policies: their parts, their files, and what they say in words."""
