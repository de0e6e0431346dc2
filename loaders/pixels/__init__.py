"""From encoded images to the pixels of a sample: crops, decoders and resizes, and the Pillow reference.

A new image augmentation or decoder belongs here. Where the encoded bytes come from belongs to ``support``.
"""
