"""Data sets of a hundred million samples: opening one, how windows mix it, and what it costs behind a URL.

A module belongs here if it measures or computes what grows with the number of samples. Nothing here reads an image.
"""
