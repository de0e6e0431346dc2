"""What several loaders share beside pixels: order, place in the epoch, encoded images, workers, transfer to the device.

A module belongs here when it moves samples or keeps count of them. Decoding and transforms belong to ``pixels``.
"""
