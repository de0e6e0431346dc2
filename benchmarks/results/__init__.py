"""From records to what people read in a terminal or a notebook: tables, complaints, plots and CSV.

Pure functions of records belong here. The HTML page belongs to ``report``.
"""
