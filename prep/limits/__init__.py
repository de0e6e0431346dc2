"""What the system grants this process: CPU time, memory, threads and processes, open files, shared memory, sockets.

A module here reads one kind of limit, or says what to do about one that was reached. ``feedline doctor`` reports a
limit before it is reached, and the command that reaches it prints the same sentence. How much a loader or a
training needs is not known here.
"""
