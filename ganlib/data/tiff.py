"""TIFF beyond what Pillow reads by itself: more kinds of grey images, and in words the kind of one
that cannot be read.

Kinds: TIFF 6.0, sections 8 and 19 (SampleFormat), by the numbers of its tags."""

import logging
import re
from io import BytesIO

from PIL.TiffImagePlugin import COMPRESSION_INFO, II, MM, OPEN_INFO, ImageFileDirectory_v2

logging.getLogger("PIL").addHandler(
    logging.NullHandler()
)  # what is wrong with a file is told by its reason alone
GREY = {  # (bits, SampleFormat) -> mode and raw mode of Pillow, little-endian; the same, big-endian
    (8, 2): (
        "I",
        "I;8S",
        "I",
        "I;8S",
    ),  # Pillow takes it for unsigned: 0 would be black, and -1 white
    (12, 1): ("I;16", "I;12", "I;16", "I;12"),
    (16, 1): ("I;16", "I;16", "I;16B", "I;16B"),
    (16, 2): ("I", "I;16S", "I", "I;16BS"),
    (32, 1): ("I", "I;32", "I", "I;32B"),
    (32, 2): ("I", "I;32S", "I", "I;32BS"),
    (32, 3): ("F", "F;32F", "F", "F;32BF"),
    (64, 3): ("F", "F;64F", "F", "F;64BF"),
}
for (BITS, FORMAT), MODES in GREY.items():
    for WHITE_IS in (0, 1):
        OPEN_INFO[II, WHITE_IS, (FORMAT,), 1, (BITS,), ()] = MODES[:2]
        OPEN_INFO[MM, WHITE_IS, (FORMAT,), 1, (BITS,), ()] = MODES[2:]
NUMBERS = {1: "", 2: ", signed", 3: ", floating point", 5: ", complex", 6: ", complex"}
COLOURS = {
    0: "grey, white is zero",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "LAB",
    9: "LAB",
    10: "LAB",
    32803: "raw of a camera",
    32844: "LogL",
    32845: "LogLuv",
}
UPPER = "16 bits a channel, read by the upper 8"  # a remark
SAVE_AS = "save it anew as grey (1 channel of 8 to 32 bits) or 8-bit RGB"


def mend(image):
    """Set right what Pillow would read wrongly of a TIFF that it has opened; ValueError where it
    cannot be. Returns remarks."""
    tags = image.tag_v2
    bits = max(tags.get(258, (1,)))
    samples = tags.get(277, 1)
    if tags.get(284, 1) == 2 and samples > 1 and bits > 8:  # a plane would be read as if of 8 bits
        raise ValueError(describe(tags))
    if image.tile and image.tile[0].codec_name == "libtiff":  # which gives native numbers
        raw, *more = image.tile[0].args
        native = re.sub(r"^([IF];\d+)B(?=[FS]?$)", r"\1N", raw)
        image.tile = [image.tile[0]._replace(args=(native, *more))]
    shown = len(image.getbands())
    remarks = (
        [f"first {shown} of {samples} channels"] if shown < samples and image.mode != "P" else []
    )
    return remarks + ([UPPER] if bits == 16 and shown > 1 else [])


def is_white_zero(image):
    """Whether a TIFF that is open says that its zero is white."""
    return image.tag_v2.get(262) == 0


def is_unsigned(image):
    """Whether the numbers of 32 bits of a TIFF that is open have no sign, which mode I has."""
    return image.tag_v2.get(339, (1,))[0] == 1 and image.tag_v2.get(258, (1,))[0] == 32


def describe(tags):
    """In words what kind of TIFF its tags tell, and what to do with it."""
    samples = tags.get(277, 1)
    bits = tags.get(258, (1,))
    numbers = NUMBERS.get(tags.get(339, (1,))[0], ", undefined")
    colour = COLOURS.get(tags.get(262), f"photometric {tags.get(262)}")
    planes = ", in planes" if tags.get(284, 1) == 2 and samples > 1 else ""
    packed = "" if tags.get(259, 1) in COMPRESSION_INFO else f", compression {tags.get(259)}"
    return (
        f"a TIFF of {samples} channel{'s' * (samples != 1)} of {max(bits)} bits{numbers} "
        f"({colour}{planes}{packed}), which cannot be read; {SAVE_AS}"
    )


def explain(content):
    """describe of the bytes of a file, None where it is no TIFF, one that can be read, or
    broken."""
    try:
        head = content[: 16 if content[2:4] in (b"+\0", b"\0+") else 8]
        tags = ImageFileDirectory_v2(head)
        file = BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        samples = tags.get(277, 1)
        bits = tags.get(258, (1,))
        kind = tags.get(339, (1,))[:1]
        if not {256, 257} <= set(tags) or not {273, 324} & set(tags) or not 0 < samples < 10_000:
            return None
        key = (
            tags.prefix,
            tags.get(262, 0),
            kind,
            tags.get(266, 1),
            bits * samples if len(bits) == 1 else bits,
            tags.get(338, ()),
        )
        in_planes = tags.get(284, 1) == 2 and samples > 1
        readable = key in OPEN_INFO and tags.get(259, 1) in COMPRESSION_INFO and not in_planes
        return None if readable else describe(tags)
    except Exception:  # of tags that are broken, nearly anything
        return None
