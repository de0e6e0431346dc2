"""One measurement: the loop, the fresh process around it, and the record that it writes.

A module belongs here if it runs while the time is taken, or if it stores the result. ``bench`` and ``diagnose`` choose
what to measure, and ``results`` makes tables from records.
"""
