"""The loaders of other projects, a module each, as their own documentation recommends them.

An adapter opens one library's loader on a split and yields batches. It runs in that library's own environment, so it
imports nothing of feedline beyond the loaders' interface and the list of samples. The suffix ``_peer`` keeps a module
from bearing the name of the library that it imports, which type checkers would mix up.
"""
