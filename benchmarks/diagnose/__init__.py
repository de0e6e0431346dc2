"""``feedline diagnose``: what holds training back here, and what would change it.

Verdicts, predictions and the runs behind them belong here. Faults of the machine belong to the doctor.
"""
