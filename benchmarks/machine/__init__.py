"""The machine below a measurement: its environment, storage and page cache, and what a process has used.

A module belongs here if it reads the state of the machine. ``doctor`` decides what that state means for feedline.
"""
