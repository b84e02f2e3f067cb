"""The built-in faces as a folder of files."""

import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
from PIL import Image
from tqdm import tqdm

from ganlib.errors import InputError
from ganlib.faces import CHUNK, DOMAINS, SPLITS, draw_numbered
from ganlib.system.files import expand


def write_chunk(folder, domain, split, numbers, size, seed):
    """Draw and write some faces, in val and test with their counterparts; returns rows of
    attributes.csv."""
    other = DOMAINS[1 - DOMAINS.index(domain)]
    rows = []
    for i in numbers:
        name = f"{i:05d}.png"
        image, face = draw_numbered(domain, i, size, seed, split)
        Image.fromarray(image).save(folder / split / domain / name)
        rows.append({"split": split, "domain": domain, "file": name} | face)
        if split != "train":
            image, _ = draw_numbered(domain, i, size, seed, split, counterpart=True)
            Image.fromarray(image).save(folder / "counterparts" / split / other / name)
    return rows


def write_all(folder, args):
    """Fill a folder, on all cores; returns attributes.csv's rows."""
    chunks = []
    for split in SPLITS:
        for domain, n in zip(
            DOMAINS, (args.train_a, args.train_b) if split == "train" else (args.eval, args.eval)
        ):
            (folder / split / domain).mkdir(parents=True)
            if split != "train":
                (folder / "counterparts" / split / domain).mkdir(parents=True)
            chunks += [(domain, split, range(i, min(i + CHUNK, n))) for i in range(0, n, CHUNK)]
    rows = []
    with (
        ProcessPoolExecutor(
            initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
        ) as pool,
        tqdm(
            total=sum(len(numbers) for *_, numbers in chunks),
            unit="face",
            disable=not sys.stderr.isatty(),
        ) as bar,
    ):
        try:
            for part in [
                pool.submit(write_chunk, folder, *chunk, args.size, args.seed) for chunk in chunks
            ]:
                rows += part.result()
                bar.update(len(part.result()))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    pd.DataFrame(rows).to_csv(folder / "attributes.csv", index=False)
    return rows


def export(args):
    """Write the data set beside its place, and move it there once it is whole."""
    for name, least in (("size", 16), ("train_a", 1), ("train_b", 1), ("eval", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise InputError(
                f"--{name.replace('_', '-')}: got {getattr(args, name)}, expected at least {least}"
            )
    folder = expand(args.folder, "folder").resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{args.folder}: exists and is not an empty folder; name a new one")
    if folder == Path.cwd():
        raise InputError(f"{args.folder}: this is the folder that you are in; name a new one")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        rows = write_all(part, args)
        os.replace(part, folder)
    except OSError as error:
        raise InputError(
            f"{args.folder}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(
        f"{len(rows)} faces of {args.size}x{args.size} pixels, {4 * args.eval} of them with their "
        f"counterparts, and attributes.csv written to {args.folder}"
    )
