"""The names that settings take, and the checks of their values.

A module belongs here if it needs neither a model nor data. The settings themselves are in ``train/config.py``.
"""
