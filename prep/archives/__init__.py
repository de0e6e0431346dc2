"""Strict readers of containers: tar, zip and MAT-files, and their checksums.

A reader belongs here when it turns a file into members or values and knows nothing of data sets. What a member means,
such as its class, is decided in ``sources``.
"""
