"""Writing of shards: the samples of a source, which of them go into which shard, and who writes it.

Code that turns a source into shards belongs here. What a shard and its indexes hold, and reading them back, belong to
the room around this one, which imports nothing from here.
"""
