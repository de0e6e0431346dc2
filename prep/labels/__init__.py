"""The classes and the labels of file names: the bundled tables, the user's lists and the official counts.

Tables and files of names and labels belong here. Reading images and recognising archives do not.
"""
