"""How processes and their threads end: signals, the death of a parent, the exit of a child, a task that fails.

A module belongs here if several folders need it to end in order, or to say how another process ended. What a process
was granted, and what to do about a limit that it reached, is in ``limits``.
"""
