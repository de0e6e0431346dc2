"""What a checkpoint makes of a split: metrics, disagreements between two checkpoints, and their gallery.

Whatever reads a finished checkpoint and changes nothing belongs here. Training steps belong to the floor itself.
"""
