"""A finished run as one file that others can use, with a page that says what it is."""

from pathlib import Path

from ganlib.compare.tables import describe
from ganlib.config import ADDED, STUDY_PAIRS, TrainConfig, plain_config
from ganlib.errors import InputError, one_line, printable
from ganlib.evaluate.scores import SCORES, family, show_score
from ganlib.runs.finished import load_run
from ganlib.system.files import locked, write_atomic
from ganlib.use.formats import FORMATS, check_installed, read_told
from ganlib.use.packed import VALUES, name_file, pack, unpack

TOLD = ("kid_probe_a", "kid_probe_b", "content_ab", "content_ba", "agreement_ab", "agreement_ba")

CARD = """# {name}

A model of ganlib that translates between two kinds of images, {a} (A) and {b} (B). It has learned
without pairs: nobody has shown it which image of B belongs to one of A.

- Architecture {arch}, {parameters:,} parameters a generator; recipe {recipe}; seed {seed}.{parent}
- Trained on {pairs:,} pairs of {height}x{width} pixels, from the data set {data}: {n_a:,} images
  of A and {n_b:,} of B.
- It takes and gives RGB images of any size. It knows images that look as those of its training, at
  that size: others come out with new colours and old shapes.{young}

## Scores

Of {tested}, which no training has seen; in brackets an
interval of 95 % over images. KID: how far translations are from real images of their domain, 0 is
no difference. Content distance: how far one is from its own input, 0 is the same, 1 a stranger.
Attribute agreement: how much of what a face was drawn by can be read off its translation, 1 is all.

{scores}

## How to use it

With ganlib installed (in a clone of its repository, `pip install .`):

```
ganlib translate {file} pictures/ --to B --out translated
```

```python
import ganlib
from PIL import Image

translator = ganlib.load("{file}")
translator(Image.open("picture.png"), to="B").save("translated.png")
```

Without ganlib: the file is safetensors; `ab.*` and `ba.*` are the weights of both generators, and
the entry `ganlib` of its header is JSON with config, domains and scores. An image is given as
float32 (N, 3, H, W), each value {values}.
"""

OTHERS = """
The same in other formats, from A to B and from B to A, for any N, and H and W that are multiples of
{factor}: {files}.
"""


def export(folder, out="", formats=()):
    """Write the running means of a run's generators as OUT.safetensors, and beside it OUT.md, which
    says what they are; returns both paths. out: a file, or "" for the run's name, here. formats:
    of use.formats.FORMATS; each writes OUT-ab and OUT-ba with its ending, too.

    Raises InputError for a folder that holds no finished run, for one whose generators were not
    kept, for a file that is there and is another model, for a format that is not installed or would
    give another translation, and where a file cannot be written."""
    if "onnx" in formats:
        check_installed()
    run = load_run(folder, "cpu")
    if run.ema is None:
        raise InputError(f"run folder {printable(run.folder)}: its generators were not kept")
    name = run.folder.resolve().name
    path = name_file(out or f"{name}.safetensors")
    data = run.metrics["data"]
    scores = run.metrics.get("scores", {}).get("ema", {})
    told = {"name": name, "domains": data["domains"], "data": data["name"]}
    told["fingerprint"] = data["fingerprint"]
    told |= {"counts": data["counts"], "pairs": run.metrics["pairs"], "scores": scores}
    with locked(path.parent / f".{path.name}.lock", printable(path)):
        places = name_others(path, formats)
        refuse_left(path, places)
        refuse_other(path, run.cfg, told, places)
        others = make_others(run, told, places)
        pack(path, run.ema.g_ab, run.ema.g_ba, run.cfg, told)
        for place, content in others.items():
            write_atomic(place, content)
        card = path.with_suffix(".md")
        write_atomic(card, write_card(run, told, path.name, list(others)).encode())
    return path, card


def name_others(path: Path, formats) -> dict[Path, tuple[str, str]]:
    """{file: (its format, "ab" or "ba")} of a model's other files."""
    places = {}
    for name in formats:
        for way in ("ab", "ba"):
            places[path.with_name(f"{path.stem}-{way}{FORMATS[name][0]}")] = name, way
    return places


def refuse_left(path: Path, places) -> None:
    """Raise InputError where a file of a format that is not asked for would stay as it is, beside a
    model that may be another by now."""
    for place in name_others(path, FORMATS):
        if place.exists() and place not in places:
            raise InputError(
                f"{printable(place)}: of an earlier export, and would stay as it is; ask for its "
                "format too, or remove it"
            )


def make_others(run, told: dict, places: dict[Path, tuple[str, str]]) -> dict[Path, bytes]:
    """What is to be written to the files of name_others. InputError where a format gives another
    translation than the run."""
    known = told | {"config": plain_config(run.cfg), "values": VALUES}
    nets = {"ab": run.ema.g_ab, "ba": run.ema.g_ba}
    made = {}
    for place, (name, way) in places.items():
        make = FORMATS[name][1]
        made[place] = make(nets[way], tuple(run.cfg.image_size), known | {"way": way})
    return made


def refuse_other(path: Path, cfg: TrainConfig, told: dict, others=()) -> None:
    """Raise InputError where a file is there that is no export of this run. others: its files in
    other formats."""
    mine = {"name": told["name"], "fingerprint": told["fingerprint"], "config": plain_config(cfg)}
    for place in (path, path.with_suffix(".md"), *others):
        if place in others:
            theirs = read_told(place)
        else:
            theirs = unpack(path, "cpu").told if path.exists() else {}
        if "config" in theirs:  # of an export of before a field was there
            theirs = theirs | {"config": ADDED | theirs["config"]}
        if place.exists() and any(theirs.get(key) != value for key, value in mine.items()):
            raise InputError(
                f"--out {printable(place)}: is there, and not this run; choose another name"
            )


def tell_parent(parent: str) -> str:
    """What a card says of the run that this one started from."""
    return f"\n- Its weights started from those of {one_line(parent)}." if parent else ""


def tell_young(pairs: int) -> str:
    """What a card says of a training that was much shorter than the study's."""
    if pairs >= STUDY_PAIRS:
        return ""
    return (
        f"\n- It is half-trained: the study that ganlib began with took {STUDY_PAIRS:,} pairs.\n"
        "  More training may mend faults."
    )


def write_card(run, told, file, others=()):
    """The page of a model, in Markdown. others: its files in other formats."""
    (n_a, *_), (n_b, *_) = told["counts"]
    rows = ["| score | value | better is |", "|---|---|---|"]
    for name in TOLD:
        if name in told["scores"]:
            better = SCORES[family(name)].better
            rows.append(f"| {describe(name)} | {show_score(told['scores'][name])} | {better} |")
    _, _, tested_a = told["counts"][0]
    _, _, tested_b = told["counts"][1]
    a, b = map(one_line, told["domains"])
    card = CARD
    if others:
        card += OTHERS
    return card.format(
        name=one_line(told["name"]),
        a=a,
        b=b,
        parent=tell_parent(run.cfg.parent),
        young=tell_young(told["pairs"]),
        arch=run.cfg.arch,
        parameters=run.metrics["parameters"]["g_ab"],
        recipe=run.cfg.recipe,
        seed=run.cfg.seed,
        pairs=told["pairs"],
        height=run.cfg.image_size[0],
        width=run.cfg.image_size[1],
        data=one_line(told["data"]),
        n_a=n_a,
        n_b=n_b,
        tested=f"{tested_a:,} test images of A and {tested_b:,} of B",
        scores="\n".join(rows) if len(rows) > 2 else "It has not been scored.",
        file=file,
        values=f"is {VALUES}",
        factor=2 ** getattr(run.ema.g_ab, "n_down", 0),
        files=", ".join(f"`{place.name}`" for place in others),
    )
