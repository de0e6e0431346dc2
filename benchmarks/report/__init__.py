"""``feedline report``: one self-contained HTML page from records.

Whatever only the page needs belongs here. Tables that the terminal shows too belong to ``results``.
"""
