"""What a measurement runs on: the environment, the storage, the page cache, and what a process has used.

A module belongs here when it reads the state of the machine. What that state means for feedline is said by the
doctor.
"""
