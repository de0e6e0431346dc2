"""WebDataset shards and their indexes: planned, encoded, written, read back and indexed again.

Code that defines the bytes of a shard set belongs here. Loading batches from shards belongs to the loaders, and
comparing a set with its manifest to ``checking``.
"""
