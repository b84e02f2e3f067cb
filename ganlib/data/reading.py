"""A data set of files as arrays: find its layout, decode each image once, settle which split
each belongs to."""

import os
from contextlib import nullcontext

import numpy as np
import pandas as pd

from ganlib.data.decode import FACTS, Cache, decode_all, reorder, rescale
from ganlib.data.formats import fix_of, heif_is_installed, is_image_name, kind_by_name
from ganlib.data.ranges import find_range, spread_range, tell_ranges
from ganlib.data.sources import LAYOUTS, MANIFEST, clip, group_files, open_source, shorten
from ganlib.data.splits import HELD_OUT, assign, group, read_manifest, write_manifest
from ganlib.errors import InputError, printable
from ganlib.faces import SPLITS
from ganlib.show.progress import Progress

# Reasons that say nothing of the file itself
NO_IMAGE = "outside the layout", "not in the manifest"
UNLISTED = "?"  # the split of a file that is not in the manifest


def read_files(data, size, domain_a, strict=True, value_range=""):
    """Read a folder, zip or data set of the hub at size (H, W): (name, names of the domains, A
    first; {domain: uint8 (N, 3, H, W), train, val and test one after another}; the facts of
    every file, a DataFrame; notes; {domain: digest}; {domain: range of values}, of those with
    files of more than 8 bits). Raises InputError, if strict also for many images that cannot be
    read."""
    source, layout, names, manifest, rows = find_files(data, domain_a, strict)
    groups = layout.groups
    outside = layout.outside
    written = []
    others = source.refused + [(f, NO_IMAGE[0]) for f in outside]
    given = spread_range(value_range, names, data)
    kept = written_ranges(manifest, groups, rows)
    # With which other files are read
    plugins = [("pillow-heif", "")] if heif_is_installed() else []
    cache = final = Cache(source, plan(groups, rows), others + plugins, size, kept | given)
    found = cache.load()
    with cache if found is None else nullcontext() as folder:
        if found is None:
            with Progress(f"reading {source.name}", cache.images, unit="images") as progress:
                arrays, facts, notes, ranges = decode_domains(
                    source,
                    plan(groups, rows),
                    names,
                    size,
                    folder,
                    progress,
                    data,
                    strict,
                    kept | given,
                )
            facts = tabulate(facts, others)
        elif strict:
            refuse_many(found[1], data)
        if manifest and rows is not None:
            written = [f"the splits are those of {manifest.name}; delete it to split anew"]
        elif manifest and strict:  # who only looks leaves nothing behind
            table, ends = (facts, ranges) if found is None else (found[1], found[4])
            ends = {printable(domain): range_ for domain, range_ in ends.items()}
            written = [write_manifest(manifest, table, ends)]
            rows = read_manifest(manifest, source.files)
            now = written_ranges(manifest, groups, rows) | given
            final = Cache(source, plan(groups, rows), others + plugins, size, now)
        if found is None:
            hidden = (
                len(source.files)
                - sum(map(len, groups.values()))
                - len(outside)
                - sum(f.endswith(MANIFEST) for f in source.files)
            )
            found = cache.save(final, arrays, facts, notes + passed_over(facts, hidden), ranges)
        elif final is not cache:
            found = cache.move(final) or found
    arrays, facts, notes, digests, ranges = found
    if not manifest and source.manifest and os.path.lexists(source.manifest):
        written = [
            f"{source.manifest.name} is not used, as the folders say which split a file is in; "
            "delete it"
        ]
    a_is = f"A is {printable(names[0])}, B is {printable(names[1])}" + (
        "" if domain_a else " (by alphabet; domain_a chooses)"
    )
    notes = [a_is, *tell_ranges(ranges, given, kept, facts), *notes, *written]
    return source.name, names, arrays, facts, notes, digests, ranges


def find_files(data, domain_a, strict):
    """What the names of its files tell of a data set: (its source, layout, names of the domains, A
    first, the manifest that goes with it or None, its rows or None). InputError where there are no
    two domains in them."""
    source = open_source(data)
    layout = group_files(source.files)
    names = check_domain_names(data, layout.groups, domain_a)
    manifest = source.manifest if all(split == "" for split, _ in layout.groups) else None
    rows = read_manifest(manifest, source.files, strict)
    check_places(data, layout, rows)
    return source, layout, names, manifest, rows


def count_files(data, domain_a=""):
    """{domain: {split: how many images}} of a folder or zip, A first, before any file is read: a
    few less come out of it where files cannot be read, or are nearly the same. InputError as
    read_files has it."""
    _, layout, names, _, rows = find_files(data, domain_a, strict=True)
    table = pd.DataFrame(plan(layout.groups, rows), columns=["domain", "split", "file", "sha256"])
    counts = {}
    for name in names:
        given = table.split[table.domain == name].value_counts().to_dict()
        whole = given.pop("", given.get("train", 0))  # of which splits that are missing are made
        missing = [split for split in ("val", "test") if split not in given]
        held_out = max(1, round(HELD_OUT * whole))
        counts[name] = {"train": whole - held_out * len(missing)}
        for split in ("val", "test"):
            counts[name][split] = given.get(split, held_out)
    return counts


def check_domain_names(data, groups, domain_a):
    """Names of A and B; InputError unless there are two. domain_a: as the folder is called, or
    as it is printed."""
    names = sorted({domain for _, domain in groups})
    shown = [shorten(name, 100) for name in names]
    if not groups:
        raise InputError(
            f"data {shorten(data)}: no images found in a layout that is known; {LAYOUTS}"
        )
    if len(names) != 2:
        listed = ", ".join(shown[:10]) + (", ..." if len(names) > 10 else "")
        raise InputError(
            f"data {shorten(data)}: {len(names)} domain{'s' * (len(names) != 1)} ({listed}), "
            f"expected two; {LAYOUTS}"
        )
    spelt = {printable(name): name for name in names} | {name: name for name in names}
    if domain_a and domain_a not in spelt:
        raise InputError(
            f"domain_a {shorten(repr(domain_a))}: no such domain in {shorten(data)}; there are "
            f"{' and '.join(shown)}"
        )
    return names[::-1] if domain_a and spelt[domain_a] == names[1] else names


def check_places(data, layout, rows):
    """InputError where files contradict the folders that they lie in, unless a manifest's rows
    keep them out of train, and where a domain has no train and images lie outside of the layout."""
    wrong = [
        m
        for m in layout.misplaced
        if not (m[1] and rows) or rows.get(printable(m[0]), ("", UNLISTED))[1] == "train"
    ]
    if wrong:
        file, _, why = wrong[0]
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        raise InputError(f"data {shorten(data)}: {shorten(file)}{more} {why}; {LAYOUTS}")
    loose = [f for f in layout.outside if is_image_name(f)]
    bare = [
        domain
        for split, domain in layout.groups
        if split and ("train", domain) not in layout.groups
    ]
    if bare and loose:
        raise InputError(
            f"data {shorten(data)}: domain {shorten(bare[0], 100)} has no train, and "
            f"{len(loose):,} images lie outside of the layout, the first {shorten(loose[0])}; "
            f"{LAYOUTS}"
        )


def plan(groups, rows):
    """[(domain, split, file, sha256)] in the order in which images are decoded and kept. Where a
    manifest's rows tell the split they tell the sha256 too, and a file that is in none of them
    has the split UNLISTED."""
    entries = []
    for (split, domain), files in groups.items():
        for f in files:
            sha256, written = "", split
            if rows is not None:
                sha256, written = rows.get(printable(f), ("", UNLISTED))[:2]
            entries.append((domain, written, f, sha256))
    return sorted(entries, key=lambda e: (e[0], ("", *SPLITS, UNLISTED).index(e[1]), e[2]))


def written_ranges(manifest, groups, rows):
    """{domain: range of values} of a manifest's rows, without the domains that have none there.
    InputError for two in one domain."""
    ranges = {}
    for (_, domain), files in groups.items() if rows else ():
        found = sorted({rows[printable(f)][2] for f in files if printable(f) in rows} - {None})
        if len(found) > 1:
            raise InputError(
                f"manifest {manifest}: low and high of domain {printable(domain)} are {found[0]} "
                f"and {found[1]}; expected the same in all rows that have them; put it right, or "
                "delete it to split anew"
            )
        ranges |= {domain: found[0]} if found else {}
    return ranges


def settle_range(images, facts, mine, read, size, progress, value_range):
    """Have all files of a domain of more than 8 bits read by one range, in images and facts;
    returns it, None where there are none. mine: the domain's entries of the plan; value_range: None
    where it is to be found from the files."""
    used = [found for found, entry in zip(facts, mine) if entry[1] != UNLISTED]
    spans = [found["values"] for found in used if "values" in found]
    if spans:
        value_range = value_range or find_range(spans)
        rescale(images, facts, [entry[2] for entry in mine], read, size, value_range, progress)
        return value_range


def decode_domains(source, entries, names, size, folder, progress, data, strict, known):
    """Decode every entry of a plan: ({domain: images in the order of the splits}, facts, notes,
    {domain: range of values}). known: ranges that are not to be found."""
    arrays, tables, notes, ranges = {}, [], [], {}
    for k, domain in enumerate(sorted(names)):
        mine = [e for e in entries if e[0] == domain]
        ends = known.get(domain)
        files = [e[2] for e in mine]
        images, facts = decode_all(
            files, source.read, size, folder, f"{k}.decoded", progress.add, ends
        )
        ends = settle_range(images, facts, mine, source.read, size, progress, ends)
        ranges |= {domain: ends} if ends else {}
        facts = pd.DataFrame(facts, columns=FACTS).assign(
            domain=printable(domain), split=[e[1] for e in mine]
        )
        facts.loc[(facts.split == UNLISTED) & (facts.reason == ""), "reason"] = NO_IMAGE[1]
        facts.loc[facts.split == UNLISTED, "split"] = ""
        for (_, _, file, sha256), found, reason in zip(mine, facts.sha256, facts.reason):
            if sha256 and found != sha256 and not reason:
                raise InputError(
                    f"manifest {source.manifest}: {printable(file)} has changed since it was "
                    "written; put the old file back, or delete the manifest to split anew"
                )
        refuse_foreign(facts, printable(domain), data)
        tables.append(facts)
        arrays[printable(domain)] = images
    if strict:
        refuse_many(tabulate(pd.concat(tables), source.refused), data)
    for k, (facts, domain) in enumerate(zip(tables, map(printable, sorted(names)))):
        order, told = settle(facts, arrays[domain], domain, data)
        notes += told
        arrays[domain] = reorder(arrays[domain], order, folder, f"{k}.ordered")
        tables[k] = pd.concat([facts[facts.reason == ""].iloc[order], facts[facts.reason != ""]])
    return arrays, pd.concat(tables, ignore_index=True), notes, ranges


def settle(facts, images, domain, data):
    """Give every readable image of a domain a split, in facts; returns (their order by split,
    notes). In images, those that the manifest does not list come last."""
    good = facts.index[facts.reason == ""]
    split = facts.split[good].to_numpy(object)
    unsplit = (split == "").any()
    notes = []
    missing = [s for s in ("test", "val") if not (split == s).any()]
    loose = np.flatnonzero((split == "") | (split == "train"))
    if not len(loose):
        raise InputError(
            f"data {printable(data)}: no readable image of domain {domain} in train; expected at "
            "least one"
        )
    if missing:
        if len(loose) <= len(missing):
            raise InputError(
                f"data {printable(data)}: {len(loose)} readable images of domain {domain} in "
                "train; expected 3 or more, or images in val and test"
            )
        digests = facts.sha256[good].to_numpy()[loose]
        split[loose] = assign(digests, group(images, loose, digests), missing)
        for s in missing:
            n = int((split == s).sum())
            if not n or not (split == "train").any():
                raise InputError(
                    f"data {printable(data)}: the {len(loose)} images of domain {domain} are too "
                    f"alike to hold out a {s} that train does not know; add images, or lay some in "
                    "val and test"
                )
            notes += [] if unsplit else [f"{domain} has no {s}: {n} images of train are held out"]
    facts.loc[good, "split"] = split
    return np.argsort([SPLITS.index(s) for s in split], kind="stable"), notes


def refuse_foreign(facts, domain, data):
    """Raise InputError for a domain in which nothing can be read and there are files of a kind
    that is not read."""
    foreign = facts.format[(facts.reason != "") & facts.format.notna()].value_counts()
    if (facts.reason != "").all() and len(foreign):
        told = " and ".join(
            f"{n:,} {name} files, which are not read: {fix_of(name)}" for name, n in foreign.items()
        )
        raise InputError(
            f"data {shorten(data)}: no image of domain {clip(domain, 100)} can be read; it holds "
            f"{told}"
        )


def refuse_many(facts, data):
    """Raise InputError where so many images cannot be read that something is wrong: over 1 %,
    and at least 10."""
    why = why_unused(facts)
    bad = facts[why.isin(["broken", "foreign"])]
    total = len(bad) + int((why == "").sum())
    if len(bad) >= 10 and len(bad) > total / 100:
        kinds = bad.format[why == "foreign"].value_counts()
        told = f" ({', '.join(f'{n:,} {name}' for name, n in kinds.items())})" if len(kinds) else ""
        raise InputError(
            f"data {shorten(data)}: {len(bad)} of {total} images cannot be read, more than 1 "
            f"%{told}; the first: {clip(bad.file.iloc[0])} ({bad.reason.iloc[0]}); mend or remove "
            f"them (python -m ganlib.doctor lists them all)"
        )


def why_unused(facts):
    """Why each file is not used, a Series of words. broken: an image that cannot be read;
    foreign: of a kind that is not read (see formats); beside: of such a kind, beside an image of
    the same name, or nothing but Apple's edits; unlisted: not in the manifest; outside: of the
    layout; other: no image. "" for those that are used."""
    bad = facts.reason != ""
    name = facts.file.map(is_image_name).astype(bool)
    kind = facts.format.fillna("")
    stems = facts.file.str.replace(r"\.[^./]*$", "", regex=True)
    beside = stems.isin(set(stems[~bad])) | (kind == "Apple edits")
    why = (
        pd.Series("other", facts.index)
        .mask((kind != "") & beside, "beside")
        .mask((kind != "") & ~beside, "foreign")
    )
    why = why.mask(name, "broken").mask(name & (kind != ""), "foreign")
    return (
        why.mask(facts.reason == NO_IMAGE[0], "outside")
        .mask(facts.reason == NO_IMAGE[1], "unlisted")
        .mask(~bad, "")
    )


def tabulate(facts, left):
    """The facts, with a row for each of the files that are left out, (file, reason)."""
    folders = {file.rpartition("/")[0] for file in facts.file}
    left = [
        (
            printable(f),
            why,
            name_kind(f) if why != NO_IMAGE[0] and lies_in(printable(f), folders) else "",
        )
        for f, why in left
    ]
    left = pd.DataFrame(left, columns=["file", "reason", "format"])
    table = pd.concat([facts, left], ignore_index=True).reindex(columns=FACTS)
    text = ["split", "domain", "mode", "format", "sha256", "remark"]
    return table.assign(**{name: table[name].fillna("").astype(str) for name in text})


def lies_in(file, folders):
    """Whether a file lies in one of the folders, or below."""
    parts = file.split("/")[:-1]
    return any("/".join(parts[:n]) in folders for n in range(1, len(parts) + 1))


def name_kind(file):
    """The name of the kind that is not read which a file has by its ending, or ""."""
    kind = kind_by_name(file)
    return kind.name if kind else ""


def passed_over(facts, hidden):
    """Notes on the files that are not used."""
    why = why_unused(facts)
    broken = why.isin(["broken", "foreign"])
    n = int((why == "").sum())
    notes = (
        [f"{broken.sum()} of {n + broken.sum()} images could not be read and were skipped"]
        if broken.any()
        else []
    )
    for name, n in facts.format[why.isin(["foreign", "beside"])].value_counts(sort=False).items():
        notes.append(f"{n} {name} file{'s' * (n > 1)} not read: {fix_of(name)}")
    first = "".join(facts.file[why == "outside"].head(1).map(", {}".format))
    left = [(f"left out: {reason}", int((facts.reason == reason).sum())) for reason in NO_IMAGE]
    left[0] = left[0][0] + first, left[0][1]
    for text, n in [*left, ("left out: no image by name or content", int((why == "other").sum()))]:
        notes += [f"{n} file{'s' * (n > 1)} {text}"] if n else []
    return notes + ([f"{hidden} hidden file{'s' * (hidden > 1)} passed over"] if hidden else [])
