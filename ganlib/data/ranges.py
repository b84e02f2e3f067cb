"""Which values are black and white in files of more than 8 bits a pixel: one range for a domain.

8-bit files are 0 to 255 and have no part in this. For the others, from all files of a domain:

1. The range is that from the smallest to the largest finite value. A thousandth of a file's pixels
   (at least one) at either end, and one file in a hundred (at least one of ten or more), are left
   out where they would make it over FAR times as wide: a hot pixel, one odd file.
2. The first of the CONVENTIONS that holds this range is taken in its place, if the range fills over
   a quarter of it (of a signed one, a quarter of either side). So 0 .. 3000 are 12 bits, 0 .. 30000
   are 16, and 29000 .. 31000 stay as they are.

It depends on the set of files alone, on neither their order nor threads. Pillow scales the values
of PGM and JPEG 2000, which say how many bits they have, to 0 .. 65535 before.
"""

import numpy as np

from ganlib.errors import InputError, printable, shown

CONVENTIONS = (
    (0, 1),
    (-1, 1),
    (0, 255),
    (0, 256),
    (0, 1023),
    (0, 1024),
    (0, 4095),
    (0, 4096),
    (0, 16383),
    (0, 16384),
    (0, 65535),
    (0, 65536),
    (-1024, 3071),
    (-32768, 32767),
)  # 8 to 16 bits, or to a power of two; CT; 16 bits with a sign
FULL = 0, 65535  # of 16-bit files, as which all of them were read before there were ranges
FAR = 8  # times as wide as the rest: what lies so far away is left out
MOST = 3e38  # of a value, as in 32 bits
CLIPPED = "values outside the value range, clipped"  # what is remarked of a file
NOT_FINITE = "nan or infinite values, read as black or the end of the range"
EXPECTED = (
    'expected "" (found from the files), two numbers [LOW, HIGH] that become black and white, or '
    "those by domain {NAME: [LOW, HIGH]}"
)


def measure_spans(values):
    """(low, high) of the finite values (N,) of one file, without hot pixels."""
    low = np.quantile(values, 0.001, method="higher")
    high = np.quantile(values, 0.999, method="lower")
    return trim((float(low), float(high)), (float(values.min()), float(values.max())))


def find_range(spans):
    """The range (low, high) of a domain from those of its files, a list of (low, high)."""
    lows, highs = [sorted(ends) for ends in zip(*spans)]
    out = max(1, len(spans) // 100) if len(spans) >= 10 else 0
    low, high = trim((lows[out], highs[-1 - out]), (lows[0], highs[-1]))
    if low == high:  # of images that show nothing
        low = min(low, 0)
        high = max(high, 0) or 1
    return next(
        (ends for ends in CONVENTIONS if fills(low, high, *ends)), (plain(low), plain(high))
    )


def trim(inner, outer):
    """The outer range, but for an end that lies too far from the inner one."""
    far = FAR * (inner[1] - inner[0])
    if far <= 0:
        return outer
    return (inner[0] if inner[0] - outer[0] > far else outer[0]), (
        inner[1] if outer[1] - inner[1] > far else outer[1]
    )


def fills(low, high, bottom, top):
    """Whether low .. high lies within bottom .. top and uses enough of it."""
    used = high > top / 4 and (low < bottom / 4 if bottom else high - low > top / 4)
    return bottom <= low and high <= top and used


def plain(number):
    """A number as a person would write it: 4095, not 4095.0."""
    return int(number) if number == int(number) else float(number)


def check_range(value):
    """A range given by a user as (low, high), or None where it is none."""
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 2
        or any(type(x) not in (int, float) for x in value)
    ):
        return None
    if not all(abs(x) <= MOST for x in value) or not value[0] < value[1]:
        return None
    return plain(value[0]), plain(value[1])


def check_value_range(value):
    """The parameter value_range, checked: "" (for "auto" too), a range, or ranges by domain.
    InputError for anything else."""
    if isinstance(value, str) and value in ("", "auto"):
        return ""
    if isinstance(value, dict) and value and all(isinstance(name, str) for name in value):
        ranges = {name: check_range(ends) for name, ends in value.items()}
        if None not in ranges.values():
            return ranges
    elif check_range(value):
        return check_range(value)
    raise InputError(f"value_range {shown(value)}: {EXPECTED}")


def to_lists(value_range):
    """A checked value_range as YAML, JSON and papermill hold it."""
    if isinstance(value_range, dict):
        return {name: list(ends) for name, ends in value_range.items()}
    return list(value_range) if value_range else ""


def spread_range(value, names, data):
    """{domain: range} of a checked value_range, without the domains that it leaves open."""
    if not isinstance(value, dict):
        return dict.fromkeys(names, value) if value else {}
    if unknown := [name for name in value if name not in names]:
        raise InputError(
            f"value_range {shown(unknown[0])}: no such domain in {printable(data)}; there are "
            f"{' and '.join(map(printable, names))}"
        )
    return value


def scale(values, value_range):
    """Values (H, W), float64, as uint8: low .. high become 0 .. 255, what lies outside is clipped,
    nan is 0."""
    low, high = value_range
    with np.errstate(all="ignore"):
        return (
            np.nan_to_num((values - low) / (high - low) * 255).clip(0, 255).round().astype(np.uint8)
        )


def is_wide(mode):
    """Whether files of this mode of Pillow hold more than 8 bits a pixel and need a range."""
    return mode.startswith(("I", "F"))


def show_ends(ends):
    """A range in words."""
    return "{:.6g} to {:.6g}".format(*ends)


def tell_ranges(ranges, given, written, files):
    """A note for each domain that has a range, or was given one for nothing. given, written: ranges
    by domain, of the parameter and of the manifest; files: the facts of all."""
    notes = [
        f"{printable(domain)}: no file of more than 8 bits a pixel, so value_range changes nothing"
        for domain in sorted(given)
        if domain not in ranges
    ]
    for domain, ends in sorted(ranges.items()):
        wide = (
            files[(files.domain == printable(domain)) & (files.reason == "")]["mode"]
            .map(is_wide)
            .astype(bool)
        )
        origin = "a range found in all of them"
        if domain in written:
            origin = "as the manifest says"
        if domain in given:
            kept = written.get(domain, ends)
            origin = "as value_range says" + (
                f" (the manifest: {show_ends(kept)})" if kept != ends else ""
            )
        others = f"; its {(~wide).sum()} files of 8 bits are 0 to 255" if not wide.all() else ""
        notes.append(
            f"{printable(domain)}: values {show_ends(ends)} are black to white in its {wide.sum()} "
            f"files of more than 8 bits, {origin}{others}"
        )
    return notes
