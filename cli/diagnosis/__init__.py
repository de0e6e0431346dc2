"""The parts of ``feedline diagnose``: what it prints, and the emulated accelerators that its options describe.

A module belongs here if only ``cli/diagnose.py`` needs it.
"""
