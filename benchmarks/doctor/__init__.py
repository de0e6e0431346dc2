"""``feedline doctor``: what this machine has, what slows feedline down on it, and the command that helps.

A new check belongs here: a pure function from the state of the machine to a finding. Measuring loaders does not.
"""
