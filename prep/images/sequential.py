"""The coefficients of a sequential JPEG, all of them, for what ``restart`` cannot do without (ITU-T T.81 annex F)."""

import numpy as np

from .coefficients import Coefficients, Frame, empty_coefficients, places_of
from .headers import EOI, SOS
from .huffman import symbol_table
from .jpeg import DHT, DRI, SOF0, SOF1
from .parse import parse_jpeg
from .restart import decode
from .scans import decode_ac_values

_CODING = {SOF0, SOF1, SOS, DHT, DRI}


def read_sequential(data: bytes | memoryview) -> Coefficients:
    """Return the coefficients of a JPEG that ``parse_jpeg`` takes. Raises UnsupportedJpeg for others."""
    data = bytes(data)
    jpeg = parse_jpeg(data)
    frame = Frame(width=jpeg.width, height=jpeg.height, components=jpeg.components)
    blocks = decode(data, jpeg)
    values = empty_coefficients(frame)
    places = places_of(frame)
    values[places, 0] = blocks.dc
    used = sorted({component.ac_table for component in jpeg.components})
    rows = [used.index(jpeg.components[part].ac_table) for part in blocks.layout[:, 0].tolist()]
    tables = np.stack([symbol_table(jpeg.ac_tables[key]) for key in used])
    decode_ac_values(blocks.words, blocks.spans, places, np.array(rows, np.int64), tables, values)
    return Coefficients(
        frame=frame,
        values=values,
        quantisation=jpeg.quantisation,
        segments=tuple(segment for segment in jpeg.segments if segment.marker not in _CODING),
        trailing=data[jpeg.scan[1] + len(EOI) :],
    )
