"""What a prepared root holds: its samples, from class folders or from lists, and where their bytes and its shards lie.

A module belongs here if it reads a finished root for shards, loaders and checks alike. Writing a root belongs in
``folders``, and what stands in the tars of ROOT/shards in ``shards``.
"""
