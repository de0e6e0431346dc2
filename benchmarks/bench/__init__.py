"""``feedline bench``: which runs are made, in which order, with which loaders, workers and devices.

A module belongs here if it plans measurements. The measurement itself belongs to ``measuring``.
"""
