"""``feedline bench``: which runs to make, in which order, with which loaders, workers and devices.

Plans of measurements belong here. The measurement itself belongs to ``measuring``.
"""
