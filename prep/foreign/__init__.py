"""Shards that other tools wrote, used where they lie: finding them, their labels, and their indexes in a root.

A module belongs here if it turns the shards of somebody else into ROOT/shards/manifest.json. Reading shards, whoever
wrote them, belongs in ``shards``, because loaders and checks read them too.
"""
