"""Comparison of prepared roots and shard sets with their manifests.

Checks of data that ``feedline verify`` reports belong here. Checks of the machine belong to ``benchmarks.doctor``.
"""
