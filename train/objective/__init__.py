"""What a training minimises, and how: losses, optimisers, moving averages, teachers.

A module belongs here if it needs the scores or the weights of a model and neither files nor the order of the steps.
"""
