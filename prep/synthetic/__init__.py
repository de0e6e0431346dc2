"""Archives made of free photographs, with the official names and layouts, to try everything without ImageNet.

Whatever makes data up belongs here. Real sources are never read from here.
"""
