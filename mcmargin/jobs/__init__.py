"""Whole jobs, from files to results, without a screen.

`margin_job.margin_from_files` reads a model, a book, a market and a last report, simulates what
they need and margins the book. The command line calls it and shows its progress; a scheduled job or
a notebook can call it in the same way. Nothing here prints, and nothing here writes a file.
"""
