"""What the workers of the `webdataset` loader do: they read streams of shards from front to back, turn by turn.

The place for reading with the webdataset library and for what its workers send. Which samples a stream has is in
``support.streams``, and the loader itself beside this folder.
"""
