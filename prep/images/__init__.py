"""Image files as bytes: what a file is, how large it is, and how a JPEG is cut into tiles (ITU-T T.81).

Whatever parses, checks or rewrites one encoded image belongs here. Decoding to pixels belongs to the loaders, and
where an image comes from to ``sources``.
"""
