"""Whole jobs, from files to results, without a screen.

In: paths and a policy. Out: reports. Messages and progress go to functions that the caller gives,
so that a scheduled job, a notebook and the command line call the same.

margin_job   from the files of a model and a book to a report
"""
