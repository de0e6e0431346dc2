"""Measurements and tables behind the claims of feedline's documentation; not in the wheel.

What a user runs on their own machine belongs to the other folders. Each module here runs from a checkout as
``python -m feedline.benchmarks.claims.<name>``.
"""
