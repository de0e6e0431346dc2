"""Reading finished checkpoints: metrics on a split, disagreements of two checkpoints, and their gallery.

Code that reads a finished checkpoint and changes nothing belongs here. Training steps belong to ``feedline.train``.
"""
