"""The loaders of other projects as their own documentation recommends them, one module for each.

An adapter opens one library's loader on a split and yields batches. It runs in that library's own environment, so it
imports from feedline only the loaders' interface and the list of samples. The suffix ``_peer`` distinguishes a module
from the library that it imports, which type checkers would confuse otherwise.
"""
