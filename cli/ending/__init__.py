"""What the command line does at the end of a command that failed.

Only modules that import nothing but the standard library belong here, because help needs them and because nothing else
may be left in memory. The sentences of errors that feedline raises belong to the rooms that raise them.
"""
