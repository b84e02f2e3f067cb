"""Look at a data set before training: python -m ganlib.doctor DATA

    python -m ganlib.doctor faces.zip                  what is wrong, and how to mend it
    python -m ganlib.doctor faces.zip --out FOLDER     also doctor.json, a picture for each finding
    python -m ganlib.doctor faces.zip --json           JSON on standard output, for scripts

DATA is what the notebooks' parameter `data` takes: builtin, a folder, a zip or hf:OWNER/NAME.
Exit status: 0 nothing to mend, 1 errors or warnings, 2 data that cannot be used at all."""

import argparse
import json
import re
import sys
from math import isnan
from pathlib import Path

import matplotlib.pyplot as plt

from ganlib.data.domains import load_domains
from ganlib.data.sources import shorten
from ganlib.doctor.checks import ERROR, NOTE, Finding
from ganlib.doctor.examine import MARKS, examine, list_kinds, measure_cost, offenders, tell_cost
from ganlib.errors import InputError, printable
from ganlib.system.command import call
from ganlib.system.files import expand, write_atomic

SHOWN = 3  # offenders named on the terminal for each finding


def parse_size(text):
    """The image_size that a text stands for: "64", or height and width as "32x48", "32,48" or
    "[32, 48]"."""
    numbers = re.fullmatch(
        r"\s*[\[(]?\s*([0-9]{1,9})(?:\s*[x×X,]\s*([0-9]{1,9}))?\s*[\])]?\s*", text, re.ASCII
    )
    if not numbers:
        raise InputError(
            f"--image-size {shorten(text, 100)}: expected a whole number of pixels, as 64, or "
            "height and width, as 32x48"
        )
    return int(numbers[1]) if numbers[2] is None else [int(numbers[1]), int(numbers[2])]


def count_words(counts):
    """Numbers of things by their names, as a text: "40 train, 5 val"."""
    return ", ".join(f"{n} {word}" for word, n in counts.items())


def to_text(images, diagnosis, cost):
    """The diagnosis as text for a terminal."""
    lines = [f"{images.name}: {'; '.join(images.notes)}"]
    for letter, kind in zip("AB", list_kinds(images)):
        lowest, usual, highest = zip(kind["width"], kind["height"])
        sizes = "{}x{} pixels".format(*usual) + (
            " (all)" if lowest == highest else ", from {}x{} to {}x{}".format(*lowest, *highest)
        )
        sizes += " (width x height)" * any(one != other for one, other in (lowest, usual, highest))
        counts, modes, formats = map(count_words, (kind["images"], kind["modes"], kind["formats"]))
        lines.append(f"{letter} ({kind['domain']}): {counts}; {sizes}; {modes}; {formats}")
    lines += [""]
    for f in diagnosis.findings:
        lines += [f"{MARKS[f.level]}  {f.check}: {f.text}", f"         to do: {f.fix}"]
        lines += [
            "         " + " = ".join([file] if isinstance(file, str) else file)
            for file in f.files[:SHOWN]
        ]
        lines += (
            [f"         ... and {len(f.files) - SHOWN} more (--json lists all)"]
            if len(f.files) > SHOWN
            else []
        )
    apart = diagnosis.apart
    lines += [
        "" if diagnosis.findings else "nothing found that should be mended\n",
        f"The domains are told apart in {apart['told_apart']:.1%} of the cases by colours and "
        f"edges alone; sliced Wasserstein distance of A to B {apart['a_to_b']}, of A to itself "
        f"{apart['a_to_a']}, of B to itself {apart['b_to_b']}.",
    ]
    return "\n".join(lines + ([tell_cost(cost)] if cost else []))


def to_json(images, diagnosis, cost):
    """The diagnosis as JSON text."""
    findings = [
        {"check": f.check, "level": f.level, "text": f.text, "fix": f.fix, "files": f.files}
        for f in diagnosis.findings
    ]
    # JSON knows no NaN
    apart = {name: None if isnan(value) else value for name, value in diagnosis.apart.items()}
    return json.dumps(
        {
            "data": images.name,
            "domains": images.domains,
            "files": list_kinds(images),
            "notes": images.notes,
            "findings": findings,
            "apart": apart,
            "cost": cost,
            "fingerprint": images.fingerprint,
        },
        indent=1,
    )


def main(argv=None):
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ganlib.doctor",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("data", help="builtin, a folder, a zip or hf:OWNER/NAME")
    parser.add_argument(
        "--image-size",
        default="64",
        help=(
            "pixels a side that training will use (64), or height and width: 32x48, 32,48 or [32, "
            "48]"
        ),
    )
    parser.add_argument(
        "--domain-a", default="", help="the domain that is A (the first by alphabet)"
    )
    parser.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values that are black and white in files of more than 8 bits (found)",
    )
    parser.add_argument(
        "--out", type=Path, help="a folder for doctor.json and a picture for each finding"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--no-cost", action="store_true", help="do not measure what training costs (some seconds)"
    )
    args = parser.parse_args(argv)
    try:
        out = args.out and expand(args.out, "--out")
        images = load_domains(
            args.data,
            parse_size(args.image_size),
            args.domain_a,
            strict=False,
            value_range=args.value_range or "",
        )
        diagnosis = examine(images)
        cost = None
        try:
            cost = None if args.no_cost else measure_cost(images)
        except InputError as error:  # of a size that the networks do not take
            diagnosis.findings.insert(
                0, Finding("image_size", ERROR, str(error), "set another image_size", [], [])
            )
        print(to_json(images, diagnosis, cost) if args.json else to_text(images, diagnosis, cost))
        if out:
            save(out, images, diagnosis, cost)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1 if any(f.level != NOTE for f in diagnosis.findings) else 0


def save(folder, images, diagnosis, cost):
    """Write doctor.json and a PNG of the offenders of each finding to the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plt.switch_backend("Agg")  # whatever the environment names, no window
        for old in folder.glob("doctor-[0-9][0-9]-*.png"):  # of an earlier look
            old.unlink()
        for i, finding in enumerate(diagnosis.findings):
            figure = offenders(images, diagnosis.known, finding)
            if figure is not None:
                figure.savefig(folder / f"doctor-{i + 1:02}-{finding.check}.png")
        write_atomic(folder / "doctor.json", to_json(images, diagnosis, cost))
    except OSError as error:
        raise InputError(
            f"--out {printable(folder)}: {error.strerror}; expected a folder that can be written, "
            "with room"
        ) from None


if __name__ == "__main__":
    sys.exit(call(main))
