"""``feedline report``: one self-contained HTML page from records.

Code that only the page needs belongs here. Tables that the terminal shows too belong to ``results``.
"""
