"""Look at a data set before training: python -m ganlib.doctor DATA

    python -m ganlib.doctor faces.zip                  what is wrong, and how to mend it
    python -m ganlib.doctor faces.zip --out FOLDER     also doctor.json, a picture for each finding
    python -m ganlib.doctor faces.zip --json           JSON on standard output, for scripts

DATA is what the notebooks' parameter `data` takes: builtin, a folder, a zip or hf:OWNER/NAME.
Exit status: 0 nothing to mend, 1 errors or warnings, 2 data that cannot be used at all."""

import re
import sys

import click

from ganlib.data.sources import shorten
from ganlib.errors import InputError
from ganlib.system.command import FILE, FOLDER, call, run
from ganlib.system.files import expand


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


@click.command(
    epilog="Exit status: 0 nothing to mend, 1 errors or warnings, 2 data that cannot be used at "
    "all."
)
@click.argument("data", type=FILE)
@click.option(
    "--image-size",
    default="64",
    help="Pixels a side that training will use (64), or height and width: 32x48, 32,48 or [32, "
    "48].",
)
@click.option("--domain-a", default="", help="The domain that is A (the first by alphabet).")
@click.option(
    "--value-range",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="Values that are black and white in files of more than 8 bits (found).",
)
@click.option("--out", help="A folder for doctor.json and a picture for each finding.", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-cost", is_flag=True, help="Do not measure what training costs (some seconds).")
def command(data, image_size, domain_a, value_range, out, as_json, no_cost):
    """Look at a data set before training: what is wrong, and how to mend it.

    DATA is builtin, a folder, a zip or hf:OWNER/NAME."""
    try:
        from ganlib.data.domains import load_domains  # take long to import
        from ganlib.doctor.checks import ERROR, NOTE, Finding
        from ganlib.doctor.examine import examine, measure_cost
        from ganlib.doctor.tell import save, to_json, to_text

        out = out and expand(out, "--out")
        images = load_domains(
            data,
            parse_size(image_size),
            domain_a,
            strict=False,
            value_range=list(value_range) if value_range else "",
        )
        diagnosis = examine(images)
        cost = None
        try:
            cost = None if no_cost else measure_cost(images)
        except InputError as error:  # of a size that the networks do not take
            diagnosis.findings.insert(
                0, Finding("image_size", ERROR, str(error), "set another image_size", [], [])
            )
        print(to_json(images, diagnosis, cost) if as_json else to_text(images, diagnosis, cost))
        if out:
            save(out, images, diagnosis, cost)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1 if any(f.level != NOTE for f in diagnosis.findings) else 0


def main(arguments=None):
    """The command; returns its exit status."""
    return run(command, "python -m ganlib.doctor", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
