"""Transforms of the user's own, of a sample or of a batch: their random numbers, their calls, and what they return.

Code that turns an encoded image into the pixels of a sample belongs in ``pixels``.
"""

from .normalise import Normalise

__all__ = ["Normalise"]
