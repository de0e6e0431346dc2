"""Which classes there are, and which class a file name has: the bundled lists, lists of the user, official counts.

Tables and files of names and labels belong here. Reading images or recognising archives does not.
"""
