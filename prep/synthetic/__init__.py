"""Synthetic archives, made of free photographs, with the official names and layouts.

Users can try every command with them without ImageNet. Code that generates data belongs here. Code that reads
sources does not.
"""
