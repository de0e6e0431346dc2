"""Crops, decoders and resizes, which turn encoded images into the pixels of a sample, and the Pillow reference.

A new image augmentation or decoder belongs here. Code that reads the encoded bytes belongs in ``support``.
"""
