"""What the tests of JPEGs share: an image as Pillow writes it, and the subsamplings that there are."""

import io
from typing import Any

from PIL import Image

SUBSAMPLINGS = ["444", "422", "420", "440", "411", "Gray"]  # all that simplejpeg writes


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
