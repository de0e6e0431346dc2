"""What the commands about training share, beyond the options of all commands.

A module belongs here if only commands that train, plan a training, or evaluate what was trained need it.
"""
