"""Recognising and reading sources: every layout becomes parts, units and images.

A new archive layout belongs here: a module that recognises it by content and yields its images with their place in
the data set. Writing the images somewhere belongs to ``folders`` and ``shards``.
"""
