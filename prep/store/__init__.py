"""The files below a URL: requests to a store that are repeated, objects that are written, and folders read from afar.

A module belongs here if it makes requests to a store, for preparation and for the loaders. The cache of the loaders,
and which shards they need when, belong to ``loaders.store``. What is in a shard belongs to ``shards``.
"""
