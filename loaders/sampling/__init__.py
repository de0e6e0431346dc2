"""What an epoch consists of: the chosen samples of a spec, their order, and the share of each rank.

A module belongs here if it decides which samples come when. Reading them belongs in ``support``, and the checks of the
spec's fields belong next to the spec.
"""
