"""Prices, bars, tables and files: what every reader and writer shares.

In: paths, frames and plain values. Out: checked values, or a `DataError` that names the file, the
row, the column and the way out. This folder and the readers and writers that are built on it are
the only ones that touch files.

prices           the closes of several assets, checked
price_files      closes read from CSV or Parquet
returns          simple returns between closes, and what joining several assets' dates has lost
candles          whether a table has the open, high, low, close and volume of one asset

bars             when the next bars close, and at which close a contract settles
bar_patterns     the calendar that a history's own closes follow
bar_stamps       whether the times of bars are dates of closes, starts or ends
steady_times     closes that were recorded some seconds early or late, moved to their usual times
zones            times in UTC as a zone's clock shows them, and back
exchanges        sessions of exchanges, from the optional package `exchange_calendars`
times            times, read in one way from every argument and every file

plausibility     limits of figures that are taken without a question
ranges           the least and the largest value of each number in a file

tables           tables, read from CSV or Parquet
parquet_tables   Parquet files, read within a limit and with texts that are checked
typed_columns    many plain rows read at once, by the types of a dataclass
typed_fields     dataclasses read from plain values, by the declared types of their fields
json_text        JSON of many rows, written and read with orjson, and exact in all cases
validation       validation of files by pydantic: types of cells, and errors in plain words
limits           how large a file may become in memory
files            files that are written whole or not at all
locks            locks of files that are read, changed and written back
"""
