"""Any labelled images: class folders of any names, lists of labels, parquet files; recognised and read, not written.

A module belongs here if it says which images a user's own source holds, with their splits, classes and columns. What
knows ImageNet's names belongs in ``sources``, and writing a root in ``folders``.
"""
