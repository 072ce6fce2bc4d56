"""Reading, checking and writing: prices, tables, bars, files."""
