"""Roots behind URLs: their documents and shards are fetched when they are needed, into a cache on the local disk.

A module belongs here if it handles URLs, requests to a store, or files of the cache. What is in a shard, and how a
sample is read from it, belongs in ``prep.shards`` and ``loaders.support``, which see ordinary files.
"""
