"""The augmentations of published recipes: on the device, each sample with draws of its own.

A module belongs here if it changes the images or the labels of a train batch after the loader made it. What a loader
does to single images (crop, flip) is in ``loaders/pixels``.
"""
