"""What checks only what feedline's documentation says of feedline: not in the wheel.

Measurements and tables behind the README's claims belong here. What a user runs on their own machine belongs to the
other rooms. Each module runs from a checkout as ``python -m feedline.benchmarks.claims.<name>``.
"""
