"""How processes end: the signals that stop this one, the death of its parent, and what the exit of a child means.

A module belongs here if several floors need it to end in order, or to say how another process ended. What a process
was granted, and what to do about a limit that it reached, is in ``limits``.
"""
