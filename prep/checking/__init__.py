"""Comparing what lies on the disk with its manifest: prepared roots and shard sets.

A check of data that ``feedline verify`` reports belongs here. Checks of the machine belong to the doctor.
"""
