"""WebDataset shards and their indexes: encoded, written (``writing``), read back and indexed again.

Code that defines the bytes of a shard set belongs here. Loading batches from shards belongs to the loaders, and
comparing a set with its manifest to ``checking``.
"""
