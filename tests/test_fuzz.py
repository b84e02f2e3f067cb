"""Arbitrary settings, parameters and folders, by hypothesis: each is used or gets its one line,
none a traceback, none is waited for.

GANLIB_FUZZ=5000 takes that many examples of each test, other ones every time."""

import contextlib
import dataclasses
import io
import json
import os
import random
import signal
import tempfile
import zipfile
from pathlib import Path

import hypothesis.configuration
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganlib import InputError
from ganlib.config import RECIPES, Execution, TrainConfig
from ganlib.data.domains import load_domains
from ganlib.doctor import __main__ as doctor_command
from ganlib.loop import fit
from ganlib.report.settings import default_parameters, plan
from ganlib.runs.finished import load_run
from ganlib.runs.folder import claim_run_folder, load_config
from ganlib.runs.job import read_job
from ganlib.system.files import NOTEBOOKS

MORE = int(os.environ.get("GANLIB_FUZZ", 0))
# What it keeps, outside of the project
hypothesis.configuration.set_hypothesis_home_dir(tempfile.gettempdir() + "/hypothesis")


def fuzz(n):
    """n examples of a test, each time the same ones."""
    return settings(
        max_examples=MORE or n,
        derandomize=not MORE,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def within(seconds):
    """Fail where the block takes longer: it hangs."""

    def stop(*_):
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def use(call):
    """What a call gives, or None where it raises InputError with one short line."""
    with within(60):
        try:
            return call()
        except InputError as error:
            assert str(error).isprintable() and 0 < len(str(error)) < 1500, repr(error)[:3000]


# any, lone surrogates and line breaks too
TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)
ODD = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        2**31 - 1,
        2**31,
        2**63,
        10**30,
        10**400,
        0.0,
        -0.0,
        0.5,
        1.0,
        1e-300,
        1e300,
        float("nan"),
        float("inf"),
        # Python does not write the last one out
        "",
        "a\nb",
        "\ud800",
        "\x1b[2J",
        "x" * 5000,
        "1e5",
        "default",
        "seed",
        b"\xff",
        [],
        {},
        [[[[[]]]]],
        [64, 64],
        [0, 64],
        [64, 64, 64],
    ]
) | st.builds(pow, st.just(16), st.just(5000))
VALUES = ODD | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=6,
)
FIELDS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
GOOD = {
    bool: st.booleans(),
    int: st.integers(0, 9),
    float: st.floats(0, 1) | st.integers(0, 3),
    str: st.sampled_from(["uvcgan", "torch", "float32", "bfloat16", "normal"]),
    tuple: st.integers(1, 99) | st.lists(st.integers(1, 99), min_size=2, max_size=2),
}
NAMED = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES
        if name in ("arch", "recipe", "precision", "init")
        else GOOD[type(default)] | ODD
        for name, default in FIELDS.items()
    },
)


@pytest.mark.slow
@fuzz(400)
@given(
    NAMED
    | st.dictionaries(
        st.sampled_from([*FIELDS, "cls", "self", "values"]) | TEXTS, VALUES, max_size=4
    )
)
@example({"cls": 1})
@example({"a\nb": 1})
@example({"steps": 16**5000})
@example({"lr_g": 10**400})
@example({"image_size": [16**5000, 1]})
@example({"seed": 10**30})
@example({"arch": "x" * 10**6})
def test_any_fields_of_a_config(values):
    cfg = use(lambda: TrainConfig.from_recipe(**values))
    if cfg:
        with tempfile.TemporaryDirectory() as folder:
            claim_run_folder(folder, cfg, "fingerprint")
            assert load_config(folder) == cfg and cfg.name("fingerprint").isprintable()
            other = dataclasses.replace(cfg, seed=cfg.seed + 1)
            assert (
                use(lambda: claim_run_folder(folder, other, "fingerprint")) is None
                and load_config(folder) == cfg
            )


@fuzz(150)
@given(st.sampled_from([None, *RECIPES]) | VALUES, st.dictionaries(TEXTS, VALUES, max_size=2))
def test_any_config_of_a_run_folder(recipe, values):
    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, "config.json").write_text(json.dumps({"recipe": recipe} | values))
        except (TypeError, ValueError):  # what JSON cannot hold
            return
        use(lambda: load_config(folder))
        use(lambda: load_run(folder))
        use(lambda: claim_run_folder(folder, TrainConfig(), "fingerprint"))


TOKENS = st.lists(
    st.sampled_from(
        [
            "train",
            "data",
            "steps",
            "lr_g",
            ": ",
            ":",
            "- ",
            "\n",
            "\n  ",
            "{",
            "}",
            "[",
            "]",
            ", ",
            "&a ",
            "*a",
            "!!int ",
            "!!float ",
            "!!bool ",
            "!!timestamp ",
            "!!binary ",
            "!!set ",
            "!!python/object/apply:os.abort ",
            "!x ",
            "? ",
            "| ",
            "> ",
            "'",
            '"',
            "#",
            "%YAML 1.2\n",
            "---\n",
            "...\n",
            "<<: ",
            "~",
            "0x1F",
            "1e5",
            ".nan",
            "-.inf",
            "1:30",
            "2001-12-14",
            "2001-99-99",
            "yes",
            "\t",
            "\\x00",
            "\0",
            "\ufeff",
            "é",
            "@",
            "`",
            "=",
        ]
    ),
    max_size=14,
).map("".join)


def dumped(values):
    """Values as YAML, those that it knows."""
    try:
        return yaml.safe_dump(values).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError):
        return b"unknown"


JOBS = st.fixed_dictionaries(
    {},
    optional={
        "train": NAMED | VALUES,
        "data": VALUES
        | st.dictionaries(
            st.sampled_from(["data", "image_size", "seed"]) | TEXTS, VALUES, max_size=3
        ),
        "folder": VALUES,
        "inception": VALUES,
        "accumulate": VALUES,
        "resume": VALUES,
    },
)


@pytest.mark.slow
@fuzz(300)
@given(
    st.binary(max_size=40)
    | TOKENS.map(str.encode)
    | (JOBS | st.dictionaries(TEXTS, VALUES, max_size=2) | VALUES).map(dumped)
)
@example(b"train: {steps: 2001-99-99}")
@example(b"train: {steps: !!int ''}")
@example(b"train: {steps: !!timestamp x}")
@example(b"&a [*a]")
@example(b"[" * 5000)
@example(b"train: {steps: " + b"9" * 5000 + b"}")
@example(b"0x" + b"f" * 5000 + b": 1")
def test_any_file_of_a_training(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.yaml")
        path.write_bytes(content)
        job = use(lambda: read_job(path))
        assert (
            job is None or isinstance(job["train"], TrainConfig) and isinstance(job["data"], dict)
        )


KNOWN = {
    name: default
    for notebook in NOTEBOOKS.glob("*.ipynb")
    for name, default in default_parameters(notebook).items()
}
GIVEN = st.dictionaries(st.sampled_from(sorted(KNOWN)) | TEXTS, VALUES, max_size=3)
NOTEBOOK = st.sampled_from(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")))
ENTRY = (
    NOTEBOOK
    | VALUES
    | st.fixed_dictionaries(
        {},
        optional={
            "notebook": NOTEBOOK | VALUES,
            "name": VALUES,
            "title": VALUES,
            "parameters": GIVEN | VALUES,
        },
    )
)
REPORTS = st.fixed_dictionaries(
    {}, optional={"notebooks": st.lists(ENTRY, max_size=2) | VALUES, "common": GIVEN | VALUES}
)


@fuzz(60)
@given(
    st.binary(max_size=20)
    | TOKENS.map(str.encode)
    | (REPORTS | VALUES).map(dumped)
    | st.just(b"notebooks: [02_cyclegan]"),
    st.dictionaries(st.sampled_from(sorted(KNOWN)) | TEXTS, TOKENS | TEXTS, max_size=2),
)
@example(b"notebooks: [{1: 2, notebook: 02_cyclegan, x: 3}]", {})
@example(b"notebooks: [{notebook: 02_cyclegan, name: ../../evil}]", {})
@example(b"notebooks: [../tests/evil]", {})
@example(b"notebooks: [{notebook: 02_cyclegan, name: [1]}]", {})
@example(b"notebooks: [{notebook: 02_cyclegan, title: [1]}]", {})
@example(b"notebooks: ['" + b"x" * 5000 + b"']", {})
@example(b"notebooks: [02_cyclegan]", {"steps": "[" * 5000})
@example(b"notebooks: [02_cyclegan]", {"steps": "!!int ''"})
def test_any_settings_of_a_report(content, overrides):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.yaml")
        path.write_bytes(content)
        for entry in use(lambda: plan(path, overrides)) or []:
            assert (
                entry["notebook"].parent == NOTEBOOKS
                and isinstance(entry["name"], str)
                and isinstance(entry["title"], (str, type(None)))
            )
            assert (Path(folder) / f"{entry['name']}.ipynb").resolve().parent == Path(
                folder
            ).resolve()


@fuzz(150)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "data": st.just("builtin")
            | VALUES.filter(
                lambda v: (
                    not isinstance(v, str)
                    or not v.startswith("hf:")
                    and ("\0" in v or not os.path.exists(v))
                )
            ),
            "image_size": st.sampled_from([16, 17, [18, 18], 15, [16, 20]]) | VALUES,
            "domain_a": st.just("anime") | VALUES,
            "seed": VALUES,
            "strict": VALUES,
            "value_range": VALUES | st.lists(st.integers() | st.floats(), min_size=2, max_size=2),
            **{
                name: st.just(1) | VALUES.filter(lambda v: type(v) is not int or not 2 < v < 2**31)
                for name in ("builtin_a", "builtin_b", "builtin_eval")
            },
        },
    )
)
@example({"data": "x" * 5000})
@example({"data": "~nobody_of_this_name/faces"})
@example({"data": "a\0b"})
@example({"domain_a": []})
@example({"image_size": 10_000, "builtin_a": 2**31 - 1})
@example({"image_size": 2**40})
@example({"seed": 2**64})
def test_any_parameters_of_load_domains(values):
    data = use(
        lambda: load_domains(
            **{"image_size": 16, "builtin_a": 1, "builtin_b": 1, "builtin_eval": 1} | values
        )
    )
    assert data is None or data.train.a.shape[1:] == data.test.b.shape[1:]


def picture(kind, seed=0, size=(20, 16), **options):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(
        file, kind, **options
    )
    return file.getvalue()


PICTURES = [
    picture(kind, i) for i, kind in enumerate(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
]
CONTENTS = st.sampled_from(
    [
        *PICTURES,
        b"",
        b"text\n",
        PICTURES[0][:60],
        PICTURES[1][:-90],
        b"\x89PNG\r\n\x1a\n",
        bytes(300),
    ]
) | st.binary(max_size=30)
NAMES = st.sampled_from(
    [
        b"train",
        b"trainA",
        b"valB",
        b"testA",
        b"TRAIN",
        b"val",
        b"test",
        b"A",
        b"B",
        b".hidden",
        b"__MACOSX",
        b"ganlib_manifest.csv",
        b"a.png",
        b"b.jpg",
        b"\xff\xfe.png",
        "Größe 画像 🙂.png".encode(),
        b"x" * 251 + b".png",
        b"a\nb.png",
        b"\x1b[2J.png",
        b" ",
        b"...",
        b"-rf",
        b"~",
        b"$(touch x)",
        b"\\",
        b"?",
        b"<b>.png",
        b"c:",
    ]
) | st.binary(min_size=1, max_size=6).filter(
    lambda name: not {0, 47} & set(name) and name not in (b".", b"..")
)
KINDS = st.sampled_from(
    ["file"] * 5
    + [
        "folder",
        "pipe",
        "to itself",
        "to nothing",
        "up",
        "to the top",
        "to a file",
        "to a picture elsewhere",
    ]
)
TREES = st.tuples(
    st.sampled_from(["none", "split", "short", "flat"]),
    st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), KINDS, CONTENTS), max_size=8),
)


def plant(top, layout, entries):
    """A folder in a layout that is sound, and more entries of any kind in it."""
    for i, domain in enumerate("AB"):
        for k in range(0 if layout == "none" else 6):
            split = ("train", "train", "train", "train", "val", "test")[k]
            parts = {"split": (split, domain), "short": (split + domain,), "flat": (domain,)}[
                layout
            ]
            path = Path(top, *parts, f"{k}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture("PNG", 10 * i + k))
    for parts, kind, content in entries:
        path = os.path.join(os.fsencode(top), *parts)
        with contextlib.suppress(OSError):  # a name that is there already, or as a file
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if kind == "file":
                with open(path, "xb") as file:
                    file.write(content)
            elif kind == "folder":
                os.mkdir(path)
            elif kind == "pipe":
                os.mkfifo(path)
            else:
                os.symlink(
                    {
                        "to itself": os.path.basename(path),
                        "to nothing": b"nowhere",
                        "up": b"..",
                        "to the top": os.fsencode(top),
                        "to a file": b"/etc/hostname",
                        "to a picture elsewhere": b"../A/0.png",
                    }[kind],
                    path,
                )


MANIFESTS = [
    b"",
    b"file,sha256,split\n",
    b"file,sha256,split\nA/0.png,0,train\n",
    b"file,sha256,split\nA/0.png,,test,more\n",
    b"\0",
    b'"',
    b"file,sha256,split\n\xff,0,train",
]


@pytest.mark.slow
@fuzz(120)
@given(TREES, st.booleans(), st.sampled_from([None, None, None, *MANIFESTS]))
@example(("split", [([b"a"] * 4, "up", b"")]), True, None)
@example(("flat", [([b"ganlib_manifest.csv"], "pipe", b"")]), True, None)
@example(("flat", [([b"ganlib_manifest.csv"], "folder", b"")]), True, None)
def test_any_folder(tree, strict, manifest):
    with tempfile.TemporaryDirectory() as top:
        plant(top, *tree)
        if manifest is not None:
            with contextlib.suppress(OSError):
                Path(top, "ganlib_manifest.csv").write_bytes(manifest)
        data = use(lambda: load_domains(top, 16, strict=strict))
        if data:
            assert all(
                text.isprintable() for text in [*data.files.file, *data.files.reason, *data.notes]
            )
            assert len(data.files[data.files.reason == ""]) == sum(
                len(side) for pair in (data.train, data.val, data.test) for side in pair
            )
            again = use(lambda: load_domains(top, 16, strict=strict))
            assert again is None or again.fingerprint == data.fingerprint


def test_folders_in_folders_in_folders(tmp_path):
    plant(tmp_path, "split", [])
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "train/A")
        for _ in range(1500):  # deeper than Python calls itself
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    data = use(lambda: load_domains(tmp_path, 16))
    assert [reason for reason in data.skipped.reason] == ["more than 50 folders deep"] and len(
        data.train.a
    ) == 4
    for _ in range(30):  # rmtree calls itself too: the chain is taken apart
        at = tmp_path / "train/A/d"
        for _ in range(60):
            if (at / "d").exists():
                at = at / "d"
        os.rename(at, tmp_path / "rest") if at != tmp_path / "train/A/d" else None
        if not (tmp_path / "rest").exists():
            break
        os.system(f"rm -rf {tmp_path / 'rest'}")


@fuzz(6)
@given(TREES)
def test_the_doctor_on_any_folder(tree):
    with tempfile.TemporaryDirectory() as top, within(60):
        plant(top, *tree)
        out, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            status = doctor_command.main([top, "--no-cost", "--image-size", "16", "--json"])
        assert (
            status in (0, 1, 2)
            and (status == 2) == (told.getvalue().count("\n") == 1)
            and (status == 2 or json.loads(out.getvalue())["fingerprint"])
        )
        (out.getvalue() + told.getvalue()).encode()


def zip_of_pictures():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for domain in "AB":
            for split, n in (("train", 3), ("val", 1), ("test", 1)):
                for i in range(n):
                    archive.writestr(f"{split}{domain}/{i}.png", PICTURES[0])
    return file.getvalue()


ZIP = zip_of_pictures()


@pytest.mark.slow
@fuzz(150)
@given(st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_any_damage_to_a_zip(seed, n, in_directory):
    rng, content = random.Random(seed), bytearray(ZIP)
    start = content.index(b"PK\1\2") if in_directory else 0
    for _ in range(n):
        content[rng.randrange(start, len(content))] = rng.choice(
            [0, 1, 8, 12, 255, rng.randrange(256)]
        )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "set.zip").write_bytes(content)
        use(lambda: load_domains(Path(folder, "set.zip"), 16, strict=False))


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Probes of one step, kept for this test alone, and a folder of pictures."""
    monkeypatch.setattr("ganlib.evaluate.probe.CACHE", tmp_path / "cache")
    monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 1)
    monkeypatch.setattr("ganlib.evaluate.probe.MOST_STEPS", 1)
    plant(tmp_path / "set", "split", [])
    return tmp_path / "set"


TRAININGS = st.fixed_dictionaries(
    {
        "image_size": st.sampled_from(
            [(32, 32), (32, 32), (16, 24), (8, 8), (4, 8), (1, 1), (12, 20), (7, 9), (2, 32)]
        )
    },
    optional={
        "arch": st.sampled_from(["cyclegan", "uvcgan"]),
        "recipe": st.sampled_from([*RECIPES]),
        "batch_size": st.sampled_from([1, 2, 3, 50]),
        "epoch_steps": st.sampled_from([0, 1, 5, 2**31 - 1]),
        "ngf": st.sampled_from([1, 2, 3, 5]),
        "ndf": st.sampled_from([1, 2, 7]),
        "seed": st.sampled_from([0, 1, 2**31 - 1]),
        "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
        "d_layers": st.integers(1, 6) | st.just(40),
        "global_score": st.booleans(),
        "pool_size": st.sampled_from([0, 1, 50]),
        "lr_g": st.sampled_from([0, 0.0, 1e-300, 1.0, 2e9]),
        "lr_d": st.sampled_from([0, 0.0, 1e-300, 1.0, 2e9]),
        "scale_lr": st.booleans(),
        "beta1": st.sampled_from([0, 0.0, 0.999999]),
        "decay_from": st.sampled_from([0, 0.0, 1, 1.0, 0.3]),
        "init": st.sampled_from(["normal", "torch"]),
        "ema": st.sampled_from([0, 0.0, 0.999999]),
        "lambda_cycle": st.sampled_from([0, 0.0, 1e9]),
        "lambda_idt": st.sampled_from([0, 1e9]),
        "resize_conv": st.booleans(),
        "pre_norm": st.booleans(),
        "vit_norm": st.booleans(),
        "steps": st.sampled_from([1, 2, 3]),
    },
)


@pytest.mark.slow
@fuzz(8)
@given(values=TRAININGS, accumulate=st.sampled_from([1, 1, 2, 3]))
@example(
    values={"image_size": (32, 32), "ngf": 1, "ndf": 1, "batch_size": 50, "d_layers": 6},
    accumulate=1,
)
def test_any_training_that_is_accepted(values, accumulate, quick):
    cfg = TrainConfig.from_recipe(**{"steps": 1, "ngf": 1, "ndf": 1, "batch_size": 2} | values)
    data = load_domains(quick, cfg.image_size)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        try:
            run = use(lambda: fit(cfg, data, folder, Execution("cpu", accumulate=accumulate)))
        except FloatingPointError as error:  # rates that no training stands
            assert str(error).isprintable()
        else:
            assert run is None or load_run(folder, "cpu").metrics["steps"] == cfg.steps
