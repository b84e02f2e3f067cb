"""TIFF files of any kind, written by the numbers of their tags: Pillow writes few of them."""

import struct
import zlib

import numpy as np

SHORT, LONG = 3, 4
FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def write_tiff(
    values, photometric=1, order="<", deflate=False, planes=False, rows=None, tile=0, extra=()
):
    """The bytes of a TIFF of values (H, W) or (H, W, C) of any dtype: photometric 0 is "white is
    zero"; in strips of so many rows, or in square tiles; extra: what ExtraSamples says of channels
    beyond the photometric's."""
    height, width = values.shape[:2]
    channels = values.reshape(height, width, -1).astype(values.dtype.newbyteorder(order))
    n = channels.shape[2]
    parts = [channels[:, :, k : k + 1] for k in range(n)] if planes else [channels]
    step, tags = (rows or height, width), {278: (LONG, rows or height)}
    if tile:
        fill = [(0, -height % tile), (0, -width % tile), (0, 0)]
        parts, step, tags = (
            [np.pad(part, fill) for part in parts],
            (tile, tile),
            {322: (LONG, tile), 323: (LONG, tile)},
        )
    pieces = [
        part[y : y + step[0], x : x + step[1]].tobytes()
        for part in parts
        for y in range(0, part.shape[0], step[0])
        for x in range(0, part.shape[1], step[1])
    ]
    pieces = [zlib.compress(piece) for piece in pieces] if deflate else pieces
    starts = np.cumsum([8, *map(len, pieces)]).tolist()
    tags |= {
        256: (LONG, width),
        257: (LONG, height),
        258: (SHORT, *[8 * values.dtype.itemsize] * n),
        259: (SHORT, 8 if deflate else 1),
        262: (SHORT, photometric),
        277: (SHORT, n),
        284: (SHORT, 2 if planes else 1),
        339: (SHORT, *[FORMATS[values.dtype.kind]] * n),
        324 if tile else 273: (LONG, *starts[:-1]),
        325 if tile else 279: (LONG, *map(len, pieces)),
    }
    tags |= {338: (SHORT, *extra)} if extra else {}
    at, entries, more = starts[-1], b"", b""
    for tag, (kind, *numbers) in sorted(tags.items()):
        data = struct.pack(order + {SHORT: "H", LONG: "I"}[kind] * len(numbers), *numbers)
        if len(data) > 4:
            more, data = more + data, struct.pack(order + "I", at + 6 + 12 * len(tags) + len(more))
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + data.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", at)
    return head + b"".join(pieces) + struct.pack(order + "H", len(tags)) + entries + bytes(4) + more
