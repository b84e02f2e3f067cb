"""A diagnosis as text, as JSON, and as files in a folder."""

import json
from math import isnan

import matplotlib.pyplot as plt

from ganlib.doctor.examine import MARKS, list_kinds, offenders, tell_cost
from ganlib.errors import InputError, printable
from ganlib.system.files import write_atomic

SHOWN = 3  # offenders named on the terminal for each finding


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
