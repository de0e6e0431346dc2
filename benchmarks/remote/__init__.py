"""Measurements of roots behind URLs, on a link that the measurement makes: python -m feedline.benchmarks.remote

A module belongs here if it serves shards as a distant store does, measures what reading them costs, or describes such
a measurement. What a store of the user can do is examined by ``feedline doctor URL``, and measured by ``feedline bench
URL``.
"""
