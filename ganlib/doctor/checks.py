"""What can be wrong with two domains of images before a network sees them: each check returns
Findings.

Images are judged as the networks get them (uint8, one size); what only the files tell comes from
Domains.files."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ganlib.data.formats import fix_of, is_image_name
from ganlib.data.ranges import CLIPPED, NOT_FINITE, is_wide, show_ends
from ganlib.data.reading import why_unused
from ganlib.data.sources import LAYOUTS, splits_of
from ganlib.data.splits import fingerprints, near_duplicates
from ganlib.data.tiff import UPPER
from ganlib.faces import SPLITS

ERROR, WARNING, NOTE = "error", "warning", "note"
# cleanvision's scores, worse below: its own bounds, but for bright (0.05)
DARK, BRIGHT, FLAT = 0.32, 0.1, 0.3
# sharpness, in medians of its domain: up to 64 pixels a side, above (where sound ones differ more)
BLURRED = 0.4, 0.3
GREY = 0.012  # colourfulness
# What the probe says of an image that belongs to the other domain: -1, to its own: 1
STRANGE = -0.33
# Share of training images that the probe takes for their own domain, from which on it may call one
# strange
APART = 0.75
FEW, UNEQUAL = 100, 3  # training images of a domain; times as many in the other
SET_RANGE = (
    "see whether this is the range of your files; if not, set value_range (--value-range LOW HIGH)"
)


class Finding(NamedTuple):
    """One thing that was found: what it is, how to mend it, and where."""

    check: str  # its name, for scripts
    level: str  # error (scores would be wrong), warning (training suffers) or note
    text: str
    fix: str
    files: list  # the offenders, each a path, or a tuple of paths that belong together
    rows: list  # the same as rows of the table `known` (see looks.look_at), for pictures


def as_finding(check, level, known, bad, text, fix):
    """A Finding on the rows of known where bad is true: a list, empty if there are none."""
    rows = np.flatnonzero(bad)
    return (
        [
            Finding(
                check,
                level,
                text.format(n=len(rows)),
                fix,
                known.file.iloc[rows].tolist(),
                rows.tolist(),
            )
        ]
        if len(rows)
        else []
    )


def check_files(images):
    """Files that could not be read, those of a kind that is not read, and those left out."""
    why = why_unused(images.files)
    found = []

    def find(check, level, rows, text, fix):
        part = images.files[rows]
        files = [f"{f}: {reason}" for f, reason in zip(part.file, part.reason)]
        found.extend(
            [Finding(check, level, text.format(len(part)), fix, files, [])] if len(part) else []
        )

    find(
        "unreadable",
        ERROR,
        why == "broken",
        "images that cannot be read: {}",
        "mend them or take them out",
    )
    for kind in images.files.format[why.isin(["foreign", "beside"])].unique():
        of_kind = images.files.format == kind
        find(
            "file_format",
            ERROR,
            (why == "foreign") & of_kind,
            f"{kind} files, which are not read: {{}}",
            fix_of(kind),
        )
        find(
            "file_format",
            WARNING,
            (why == "beside") & of_kind,
            f"{kind} files, which are not read, beside images of the same name: {{}}",
            f"take them out, if the images are all that you want; else {fix_of(kind)}",
        )
    find(
        "not_in_manifest",
        WARNING,
        why == "unlisted",
        "images that the manifest does not list, so that they are left out: {}",
        "delete the manifest to split anew with them, or add rows for them",
    )
    outside = (why == "outside") & images.files.file.map(is_image_name).astype(bool)
    held = outside & images.files.file.map(lies_in_a_split).astype(bool)
    if not held.any() and (outside.sum() < 10 or outside.sum() <= (why == "").sum() / 100):
        outside &= False
    find(
        "outside",
        WARNING,
        outside,
        "images that lie outside of the layout, and are left out: {}",
        f"take them away, or lay them right: {LAYOUTS}",
    )
    find(
        "left_out",
        NOTE,
        why.isin(["outside", "other"]) & ~outside,
        "files that are no images of this data set, and are left out: {}",
        "nothing, if they should be",
    )
    return found


def lies_in_a_split(file):
    """Whether a folder that a file lies in is called like a split: test/1.png, of which no
    domain is known."""
    return any(map(splits_of, file.split("/")[:-1]))


def check_sizes(known, size):
    """Images that are enlarged, cropped hard, far from the usual size of their domain, or not
    quite what their file holds."""
    pixels = known.width * known.height
    small = too_small(known, size)
    usual = pixels.groupby(known.side).transform("median")
    shape = known.width / known.height / (size[1] / size[0])
    odd = (pixels > 16 * usual) | (pixels < usual / 16)
    found = as_finding(
        "enlarged",
        WARNING,
        known,
        small,
        f"images smaller than {show_size(size)}, which get enlarged: {{n}}",
        "take them out, or set a smaller image_size",
    )
    found += as_finding(
        "proportions",
        WARNING,
        known,
        (shape > 2) | (shape < 0.5),
        "images so long that over half of them is cropped off: {n}",
        "crop them yourself, or take them out",
    )
    found += as_finding(
        "odd_size",
        WARNING,
        known,
        odd & ~small,
        "images of over 16 times more or fewer pixels than is usual in their domain: {n}",
        "see whether they belong there",
    )
    remarks = known.remark.str.replace(
        r"first of \d+ frames", "first of several frames", regex=True
    )
    for remark in sorted(set("; ".join(remarks[remarks != ""]).split("; ")) - {""}):
        has = remarks.str.contains(remark, regex=False)
        level = WARNING if "frames" in remark else NOTE
        found += as_finding(
            "remark",
            level,
            known,
            has,
            f"images read with a remark, {remark}: {{n}}",
            "nothing, if this is what you want",
        )
    return found


def show_size(size):
    """An image_size (H, W) in words, in the order of the parameter."""
    return f"{size[0]}x{size[1]}" + (" (height x width)" if size[0] != size[1] else "")


def too_small(known, size):
    """Which images are smaller than size (H, W), so that they get enlarged."""
    return (known.height < size[0]) | (known.width < size[1])


def check_quality(known, size):
    """Very dark, bright, flat, blurred images (other than by being enlarged), and grey ones in
    colour domains."""
    flat = known.low_information < FLAT
    dark = known.dark < DARK
    bright = known.light < BRIGHT
    blurred = known.sharpness < BLURRED[min(size) > 64] * known.groupby("side").sharpness.transform(
        "median"
    )
    grey = (known.colourfulness < GREY) & ~dark & ~bright & ~flat
    common = grey.groupby(known.side).transform("mean") > 0.5
    look = "look at them; take out what the generator should not learn to make"
    return (
        as_finding("dark", WARNING, known, dark & ~flat, "very dark images: {n}", look)
        + as_finding("bright", WARNING, known, bright & ~flat, "very bright images: {n}", look)
        + as_finding("flat", WARNING, known, flat, "images that show next to nothing: {n}", look)
        + as_finding(
            "blurred",
            WARNING,
            known,
            blurred & ~flat & ~too_small(known, size),
            "images that are blurred, compared with their domain: {n}",
            look,
        )
        + as_finding(
            "grey", WARNING, known, grey & ~common, "grey images in a domain of colour: {n}", look
        )
        + as_finding(
            "grey_domain",
            NOTE,
            known,
            grey & common,
            "grey images, most of their domain: {n}",
            "nothing, if the other domain is to be grey too; else the generator has to invent all "
            "colour",
        )
    )


def check_ranges(known, images):
    """The range of values of each domain with files of more than 8 bits: a note, and a warning
    where it may not suit them; also 16-bit colour that comes out dark, as it is read by its upper
    8 bits alone."""
    found = []
    remark = known.remark.str
    unseen = (known.dark < DARK) | (known.light < BRIGHT) | (known.low_information < FLAT)
    looks = "come out very dark, very bright or flat"
    wide = known["mode"].map(is_wide).astype(bool)
    colour = remark.contains(UPPER, regex=False)
    for side, domain in zip("ab", images.domains):
        mine = known.side == side
        if domain in images.value_ranges:
            numbers = known["mode"][mine & wide].str.startswith("F")
            doubts = {
                "files of 8 bits, which are 0 to 255, lie among them": mine & ~wide,
                "whole and floating point numbers are mixed": mine
                & wide
                & (0 < numbers.mean() < 1),
                CLIPPED: mine & remark.contains(CLIPPED, regex=False),
                NOT_FINITE: mine & remark.contains(NOT_FINITE, regex=False),
                f"most {looks}": mine & wide & unseen & (unseen[mine & wide].mean() > 0.5),
            }
            doubts = {doubt: rows for doubt, rows in doubts.items() if rows.any()}
            rows = [*doubts.values()] or [mine & wide]
            rows = np.flatnonzero(np.logical_or.reduce(rows))
            ends = show_ends(images.value_ranges[domain])
            n = (mine & wide).sum()
            text = "; ".join(
                [
                    f"{domain}: values {ends} are black to white in {n} files of more than 8 bits",
                    *doubts,
                ]
            )
            found.append(
                Finding(
                    "value_range",
                    WARNING if doubts else NOTE,
                    text,
                    SET_RANGE,
                    known.file.iloc[rows].tolist(),
                    rows.tolist(),
                )
            )
        rows = np.flatnonzero(mine & colour & unseen)
        if len(rows) > 0.5 * (mine & colour).sum():
            text = (
                f"{domain}: 16-bit colour images, read by their upper 8 bits, that {looks}: "
                f"{len(rows)}"
            )
            fix = "save them anew in 8 bits, or scaled to use all 16"
            found.append(
                Finding(
                    "value_range", WARNING, text, fix, known.file.iloc[rows].tolist(), rows.tolist()
                )
            )
    return found


def check_copies(known, images):
    """Exact and near duplicates: in one split, across splits, across domains."""
    marks = [
        fingerprints(getattr(images, split)[k])
        for k in (0, 1)
        for split in SPLITS
        if len(getattr(images, split)[k])
    ]
    near = near_duplicates(*map(np.concatenate, zip(*marks)))
    first = pd.Series(known.index).groupby(known.sha256).transform("first")
    # The first in its domain
    own = pd.Series(known.index).groupby([known.sha256, known.side]).transform("first")
    exact = [(i, j) for i, j in zip(own, known.index) if i != j] + [
        (i, j) for i, j, k in zip(first, known.index, own) if i != j == k
    ]
    exact = np.array(exact, np.int64).reshape(-1, 2)
    near = near[np.lexsort((near[:, 0], near[:, 1]))]
    sha256, sides = [known[name].to_numpy()[near] for name in ("sha256", "side")]
    seen = (
        pd.DataFrame({"image": near[:, 1], "same_side": sides[:, 0] == sides[:, 1]})
        .duplicated()
        .to_numpy()
    )
    # Of many that are alike, each with the first, in its domain and in the other
    near = near[(sha256[:, 0] != sha256[:, 1]) & ~seen]
    pairs = np.concatenate([exact, near])
    is_exact = np.repeat([True, False], [len(exact), len(near)])
    side = known.side.to_numpy()[pairs]
    split = known.split.to_numpy()[pairs]
    across_side = side[:, 0] != side[:, 1]
    across_split = split[:, 0] != split[:, 1]
    found = []
    for name, level, rows, text, fix in (
        (
            "in_both_domains",
            ERROR,
            across_side,
            "pairs of images, one in each domain, that are the same picture",
            "decide which domain each belongs to, and take the other out",
        ),
        (
            "leakage",
            ERROR,
            across_split & ~across_side,
            "pairs of images in different splits that are the same picture, so that test scores "
            "reward memory",
            "take the copies out of val and test, or lay each domain in one folder: copies are "
            "then kept together",
        ),
        (
            "exact_duplicates",
            WARNING,
            ~across_split & ~across_side & is_exact,
            "pairs of equal files in one split",
            "keep one of each: a copy counts twice in training",
        ),
        (
            "near_duplicates",
            WARNING,
            ~across_split & ~across_side & ~is_exact,
            "pairs of images in one split that are nearly the same picture",
            "keep one of each, if they are no variations that you want",
        ),
    ):
        if rows.any():
            files = [tuple(pair) for pair in known.file.to_numpy()[pairs[rows]]]
            found.append(
                Finding(name, level, f"{text}: {rows.sum()}", fix, files, pairs[rows].tolist())
            )
    return found


def check_likeness(known, features, images):
    """Domains that are small, unequal, mixed up or swapped."""
    n_a, n_b = map(len, images.train)
    found = []
    for name, n in zip(images.domains, (n_a, n_b)):
        if n < FEW:
            found.append(
                Finding(
                    "few_images",
                    WARNING,
                    f"training images of {name}: {n}, so few that the discriminator can learn them "
                    "by heart",
                    f"add images, {FEW} at the very least; the study had 3,400",
                    [],
                    [],
                )
            )
    if max(n_a, n_b) > UNEQUAL * min(n_a, n_b):
        found.append(
            Finding(
                "unequal",
                WARNING,
                f"{n_a} training images of A against {n_b} of B",
                "the smaller domain is repeated; add images to it, or take some of the other",
                [],
                [],
            )
        )
    train = (known.split == "train").to_numpy()
    # Near a half the domains look alike, and nothing is in the wrong one
    apart = (known.belongs[train] > 0).mean()
    strange = (known.belongs < STRANGE) & (known.low_information >= FLAT) & (apart >= APART)
    part = known.assign(strange=strange).groupby(["split", "side"]).strange.mean()
    swapped = []
    for split in ("val", "test"):
        if min(part.get((split, "a"), 0), part.get((split, "b"), 0)) > 0.5:
            swapped.append(split)
    for split in swapped:
        rows = known.split == split
        found += as_finding(
            "swapped_split",
            ERROR,
            known,
            rows & strange,
            f"in {split} the two domains look swapped, compared with train",
            f"exchange the two folders of {split}",
        )
    found += as_finding(
        "strange",
        WARNING,
        known,
        strange & ~known.split.isin(swapped),
        "images that look more like the other domain: {n}",
        "look at them; move them, or take them out",
    )
    a, b = [features[train & (known.side == side).to_numpy()].mean(0) for side in "ab"]
    # Log of the sharpest edges; upper quartile of brightness, of 4
    if b[197] - a[197] > 0.4 and b[207] - a[207] > 0.7:
        found.append(
            Finding(
                "swapped_domains",
                WARNING,
                f"A ({images.domains[0]}) looks photographed and B ({images.domains[1]}) drawn: in "
                f"this project A is anime and B is selfie",
                f"set domain_a to '{images.domains[1]}', or mind the names when you read the "
                "results",
                [],
                [],
            )
        )
    return found
