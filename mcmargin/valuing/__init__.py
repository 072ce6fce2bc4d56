"""Instruments, and what they are worth today and on every path."""
