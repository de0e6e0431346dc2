"""Synthetic archives and class folders, made of free photographs, with the names and layouts that real ones have.

Users can try every command with them without ImageNet. Code that generates data belongs here. Code that reads
sources does not.
"""
