"""Code that several loaders share: order and position in the epoch, encoded images, workers, transfer to the device.

A module belongs here if it moves samples or counts them. Decoding and transforms belong in ``pixels``.
"""
