"""Loaders in the loops of other projects: what each library requires of a DataLoader, around any feedline loader.

One module per library, which is the only one that imports it. A module here translates: names of methods, the form of
a batch, where a state is saved. It chooses no samples, makes no pixels and opens no files; what all loops need belongs
to the loaders. ``docs/loops.md`` shows each in its loop.
"""
