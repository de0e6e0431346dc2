"""What the commands about training share, beyond the options of all commands.

A module belongs here if only commands that train, or that plan a training, need it.
"""
