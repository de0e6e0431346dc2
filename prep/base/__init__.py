"""Shared basics of prep: errors, documents, manifests, output directories, types, paths and progress.

A module belongs here when several folders of prep need it and it does not depend on archives, image formats or
shards. A module that only one folder needs stays in that folder.
"""
