"""What every room of prep stands on: errors, documents, manifests, output directories, thread pools and progress.

A module belongs here when several rooms need it and it knows nothing of archives, image formats or shards. What only
one room needs stays in that room.
"""
