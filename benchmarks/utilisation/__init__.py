"""Accelerator utilisation (AU): how many emulated accelerators this machine keeps busy, JPEG decoding included.

A module belongs here if it emulates accelerators, counts their utilisation, or compares the way they are run with the
rules of MLPerf Storage. What limits the loader is the business of ``diagnose``, which starts all of this.
"""
