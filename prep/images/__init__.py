"""Image files as bytes: what a file is, how large it is, and how a JPEG is cut into tiles (ITU-T T.81).

Whatever parses, checks, opens or rewrites one encoded image belongs here, and so does the conversion of its pixels to
RGB. Crops and resizes belong to the loaders, and where an image comes from to ``sources``.
"""
