"""Strict readers of tar, zip and MAT-files, and the checksums of archives.

A reader belongs here when it turns a file into members or values and depends on no data set. ``sources`` decides
what a member means, such as its class.
"""
