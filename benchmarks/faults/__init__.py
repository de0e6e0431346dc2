"""Random faults in commands and epochs, and whether everything comes out right after them.

Here belongs what disturbs feedline on purpose and compares the result with that of an undisturbed run. What a single
fault does is a test of the folder in which it is handled.
"""
