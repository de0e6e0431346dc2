"""``feedline diagnose``: what limits training on this machine, and what would change it.

A module belongs here if it makes verdicts or predictions, or the runs behind them. Faults of the machine belong to
``doctor``.
"""
