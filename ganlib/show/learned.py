"""What a run has learned, in words: before all, whether its fakes beat what no model made."""

import torch

from ganlib.config import STUDY_PAIRS
from ganlib.device import chip_name, default_device

DIRECTIONS = {"ab": "A to B", "ba": "B to A"}


def tell_machine():
    """What the rounding of the numbers of a notebook depends on: another processor or another
    number of threads rounds otherwise, and a training magnifies that."""
    device = default_device()
    words = [chip_name(device)]
    if device.type == "cpu":
        threads = torch.get_num_threads()
        words += [torch.backends.cpu.get_cpu_capability(), f"threads: {threads}"]
    return f"computed on {', '.join(words)}, torch {torch.__version__}"


def tell_learned(run, judge):
    """What is to be said of a finished Run, by a Judge of its test images, as Markdown."""
    fakes = {way: run.metrics["scores"]["ema"] for way in DIRECTIONS}
    marks = {
        name: judge.check(out["fake_a"], out["fake_b"]) for name, out in judge.landmarks().items()
    }
    lines = [compare(way, scores, marks) for way, scores in fakes.items()]
    lines += [tell_length(run), tell_cycle(run), tell_discriminators(run)]
    lines.append(
        "The losses do not rank this model against another; notebook 04 compares models by "
        "measures that do."
    )
    return "\n".join(f"- {line}" for line in lines)


def compare(way, scores, marks):
    """Whether the fakes of one direction are better than its landmarks."""
    target = way[1]
    kid, content = scores.get(f"kid_probe_{target}"), scores[f"content_{way}"]["value"]
    said = []
    if kid:
        untranslated, kid = marks["untranslated"][f"kid_{target}"], kid["value"]
        said.append(
            f"{better(kid, untranslated)} {target.upper()} than untranslated images are (KID "
            f"{kid:.2f} against {untranslated:.2f}{truth(marks, f'kid_{target}')})"
        )
    strangers = marks["random"][f"content_{way}"]
    said.append(
        f"{better(content, strangers)} their inputs than random images are (content distance "
        f"{content:.2f} against {strangers:.2f}{truth(marks, f'content_{way}')})"
    )
    return f"**{DIRECTIONS[way]}:** the fakes are {'; they are '.join(said)}."


def better(value, landmark):
    """How a distance compares with that of a landmark."""
    return "nearer to" if value < landmark else "**not** nearer to"


def truth(marks, name):
    """What the right answers get, where they are known."""
    if name not in marks.get("truth", {}):
        return ""
    return f"; the true counterparts have {marks['truth'][name]:.2f}"


def tell_length(run):
    """Whether the model was trained for as long as the study's."""
    pairs = run.metrics["pairs"]
    if pairs >= STUDY_PAIRS:
        return f"It was trained on {pairs:,} pairs; the study took {STUDY_PAIRS:,}."
    return (
        f"**This is a half-trained model**: it saw {pairs:,} pairs, where the study took "
        f"{STUDY_PAIRS:,}. What it cannot do yet, more training may bring."
    )


def tell_cycle(run):
    """Where the cycle loss went."""
    history = run.history
    cycle = history.loc[history.split == "val", "cycle"].dropna().tolist()
    if len(cycle) < 2:
        return "There is no second validation with a cycle loss to compare."
    went = "content survives the way there and back better than at the first validation"
    if cycle[-1] >= cycle[0]:
        went = "the way there and back has not become better"
    return (
        f"The cycle loss on validation images went from {cycle[0]:.2f} to {cycle[-1]:.2f}: {went}."
    )


def tell_discriminators(run):
    """Whether a discriminator has won."""
    won = [side.upper() for side in "ab" if run.metrics["test"][f"d_{side}"] < 0.05]
    if won:
        return (
            f"Discriminator {' and '.join(won)} has won: its test loss is below 0.05, so there is "
            "little left to learn from it."
        )
    return (
        "Neither discriminator has won: both test losses are above 0.05, so the generators still "
        "learn from them."
    )
