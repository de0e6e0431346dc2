"""Tables, complaints, plots and CSV from records, for a terminal or a notebook.

Pure functions of records belong here. The HTML page belongs to ``report``.
"""
