"""The command line: each command parses its options, calls the library and prints the result.

Each command has a module of its own, which imports heavy libraries inside its functions. ``options`` holds what
several commands accept, ``console`` what they print with.
"""
