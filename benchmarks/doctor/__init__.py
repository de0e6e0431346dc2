"""``feedline doctor``: what this machine has, what slows feedline down on it, and the command that fixes it.

A new check belongs here: a pure function from the facts about the machine to a finding. Measuring loaders does not.
"""
