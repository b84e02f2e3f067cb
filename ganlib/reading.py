"""A data set of files as arrays: find its layout, decode each image once, settle which split each belongs to."""

import numpy as np
import pandas as pd

from ganlib.decode import FACTS, Cache, decode_all, reorder
from ganlib.files import InputError, printable
from ganlib.progress import Progress
from ganlib.sources import LAYOUTS, group_files, is_image_name, open_source
from ganlib.splits import SPLITS, assign, group, read_manifest, write_manifest

NO_IMAGE = "outside the layout", "not in the manifest"   # reasons that say nothing of the file itself


def read_files(data, size, domain_a, strict=True):
    """Read a folder, zip or data set of the hub at size (H, W): (name, names of the domains, A first; {domain: uint8
    (N, 3, H, W), train, val and test one after another}; the facts of every file, a DataFrame; notes; {domain: digest}).
    Raises InputError, if strict also for many images that cannot be read."""
    source = open_source(data)
    groups, outside = group_files(source.files)
    names = check_domains(data, groups, domain_a)
    flat = all(split == "" for split, _ in groups)
    rows = read_manifest(source.manifest, source.files) if flat else None
    cache = Cache(source, plan(groups, rows), size)
    found = cache.load()
    if found and strict:
        refuse_many(found[1], data)
    if found is None:
        with cache as folder, Progress(f"reading {printable(source.name)}", cache.images, unit="images") as progress:
            arrays, facts, notes = decode_domains(source, plan(groups, rows), names, size, folder, progress, data, strict)
            if flat and rows is None:
                notes.append(write_manifest(source.manifest, facts))
                rows = read_manifest(source.manifest, source.files)
            listed, read = {f for files in groups.values() for f in files}, set(facts.file)
            left = source.refused + [(f, NO_IMAGE[0]) for f in outside]
            left += [(f, NO_IMAGE[1]) for f in sorted(listed) if printable(f) not in read]
            facts = tabulate(facts, left)
            hidden = len(source.files) - len(listed) - len(outside)
            found = cache.save(Cache(source, plan(groups, rows), size), arrays, facts, notes + passed_over(facts, hidden))
    arrays, facts, notes, digests = found
    a_is = f"A is {printable(names[0])}, B is {printable(names[1])}" + ("" if domain_a else " (by alphabet; domain_a chooses)")
    return source.name, names, arrays, facts, [a_is, *notes], digests


def check_domains(data, groups, domain_a):
    """Names of A and B; InputError unless there are two."""
    names = sorted({domain for _, domain in groups})
    shown = ", ".join(map(printable, names))
    if not groups:
        raise InputError(f"data {printable(data)}: no images found in a layout that is known; {LAYOUTS}")
    if len(names) != 2:
        raise InputError(f"data {printable(data)}: {len(names)} domain{'s' * (len(names) != 1)} ({shown}), expected two; {LAYOUTS}")
    if domain_a and domain_a not in names:
        raise InputError(f"domain_a {domain_a!r}: no such domain in {printable(data)}; there are {' and '.join(map(printable, names))}")
    return names[::-1] if domain_a == names[1] else names


def plan(groups, rows):
    """[(domain, split, file, sha256 if a manifest's rows tell it)] in the order in which images are decoded and kept."""
    entries = []
    for (split, domain), files in groups.items():
        for f in files:
            if rows is None:
                entries.append((domain, split, f, ""))
            elif printable(f) in rows:
                sha256, written = rows[printable(f)]
                entries.append((domain, written, f, sha256))
    return sorted(entries, key=lambda e: (e[0], ("", *SPLITS).index(e[1]), e[2]))


def decode_domains(source, entries, names, size, folder, progress, data, strict):
    """Decode every entry of a plan: ({domain: images in the order of the splits}, facts, notes)."""
    arrays, tables, notes = {}, [], []
    for k, domain in enumerate(sorted(names)):
        mine = [e for e in entries if e[0] == domain]
        images, facts = decode_all([e[2] for e in mine], source.read, size, folder, f"{k}.decoded", progress.add)
        facts = pd.DataFrame(facts, columns=FACTS).assign(domain=domain, split=[e[1] for e in mine])
        for (_, _, file, sha256), found in zip(mine, facts.sha256):
            if sha256 and found != sha256:
                raise InputError(f"manifest {source.manifest}: {printable(file)} has changed since it was written; put the old "
                                 "file back, or delete the manifest to split anew")
        tables.append(facts)
        arrays[domain] = images
    if strict:
        refuse_many(tabulate(pd.concat(tables), source.refused), data)
    for k, (facts, domain) in enumerate(zip(tables, sorted(names))):
        order, told = settle(facts, arrays[domain], domain, data)
        notes += told
        arrays[domain] = reorder(arrays[domain], order, folder, f"{k}.ordered")
        tables[k] = pd.concat([facts[facts.reason == ""].iloc[order], facts[facts.reason != ""]])
    return arrays, pd.concat(tables, ignore_index=True), notes


def settle(facts, images, domain, data):
    """Give every readable image of a domain a split, in facts; returns (their order by split, notes)."""
    good = facts.index[facts.reason == ""]
    split = facts.split[good].to_numpy(object)
    unsplit, notes = (split == "").any(), []
    missing = [s for s in ("test", "val") if not (split == s).any()]
    loose = np.flatnonzero((split == "") | (split == "train"))
    if not len(loose):
        raise InputError(f"data {printable(data)}: no readable image of domain {printable(domain)} in train; expected at least one")
    if missing:
        if len(loose) <= len(missing):
            raise InputError(f"data {printable(data)}: {len(loose)} readable images of domain {printable(domain)} in train; expected 3 or more, or "
                             "images in val and test")
        digests = facts.sha256[good].to_numpy()[loose]
        split[loose] = assign(digests, group(images[loose] if len(loose) < len(images) else images, digests), missing)
        for s in missing:
            n = int((split == s).sum())
            if not n or not (split == "train").any():
                raise InputError(f"data {printable(data)}: the {len(loose)} images of domain {printable(domain)} are too alike to hold out a {s} "
                                 "that train does not know; add images, or lay some in val and test")
            notes += [] if unsplit else [f"{printable(domain)} has no {s}: {n} images of train are held out"]
    facts.loc[good, "split"] = split
    return np.argsort([SPLITS.index(s) for s in split], kind="stable"), notes


def refuse_many(facts, data):
    """Raise InputError where so many images cannot be read that something is wrong: over 1 %, and at least 10."""
    facts = facts[facts.file.map(is_image_name) & ~facts.reason.isin(NO_IMAGE)]
    bad = facts[facts.reason != ""]
    if len(bad) >= 10 and len(bad) > len(facts) / 100:
        raise InputError(f"data {printable(data)}: {len(bad)} of {len(facts)} images cannot be read, more than 1 %; the first: "
                         f"{bad.file.iloc[0]} ({bad.reason.iloc[0]}); mend or remove them (python -m ganlib.doctor lists them all)")


def tabulate(facts, left):
    """The facts, with a row for each of the files that are left out, (file, reason)."""
    left = pd.DataFrame([(printable(f), why) for f, why in left], columns=["file", "reason"])
    table = pd.concat([facts, left], ignore_index=True).reindex(columns=FACTS)
    text = ["split", "domain", "mode", "format", "sha256", "remark"]
    return table.assign(**{name: table[name].fillna("").astype(str) for name in text})


def passed_over(facts, hidden):
    """Notes on the files that are not used."""
    bad = facts[facts.reason != ""]
    images = bad.file.map(is_image_name) & ~bad.reason.isin(NO_IMAGE)
    other = bad[~images]
    notes = [f"{images.sum()} of {len(facts) - len(other)} images could not be read and were skipped"] if images.any() else []
    for reason, n in other.reason.where(other.reason.isin(NO_IMAGE), "no image by name or content").value_counts(sort=False).items():
        notes.append(f"{n} file{'s' * (n > 1)} left out: {reason}")
    return notes + ([f"{hidden} hidden file{'s' * (hidden > 1)} passed over"] if hidden else [])
