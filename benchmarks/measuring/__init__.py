"""One measurement: the loop, the fresh process around it, and the record that it leaves.

Code that runs while the clock runs, or writes down what it showed, belongs here. Choosing what to measure belongs to
``bench`` and ``diagnose``, and reading records to ``results``.
"""
