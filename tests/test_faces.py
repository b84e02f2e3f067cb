"""The built-in faces: true records, two painters that keep what is shared, the same bytes
anywhere, and their export."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganlib import faces
from ganlib.faces import (
    ANIME_ONLY,
    DOMAINS,
    SELFIE_ONLY,
    SHARED,
    InputError,
    draw_counterparts,
    draw_face,
    draw_faces,
    sample_face,
)
from ganlib.faces.__main__ import main

CHECKSUMS = {
    ("anime", 64, 12): "86c0e1ef4d1305d1",
    ("selfie", 64, 12): "85471f887148d7b4",
    ("anime", 128, 3): "22a7355364d77441",
    ("selfie", 128, 3): "8810664c24b558ce",
    ("anime", 256, 2): "e1e7ff1e4229c946",
    ("selfie", 256, 2): "2cc53f7fffbc69a8",
}
NAMES = {
    "fringe": ("none", "bangs"),
    "hair_hue": ("pink", "green"),
    "highlight": ("band", "none"),
    "eye_hue": ("blue", "red"),
    "backdrop": ("white", "deep"),
    "iris": ("brown", "blue"),
    "background": ("shelf", "outdoor"),
}  # two values of each attribute that is a name
ENDS = {
    "x": (0.45, 0.55),
    "y": (0.42, 0.52),
    "scale": (0.8, 1.0),
    "turn": (-0.3, 0.3),
    "tilt": (-0.2, 0.2),
    "nod": (-0.15, 0.15),
    "face_width": (0.94, 1.06),
    "part": (-0.4, 0.4),
    "cloth_hue": (0.0, 0.5),
    "ribbon_hue": (0.0, 0.5),
    "backdrop_hue": (0.0, 0.5),
}


def checksum(domain, size, n):
    return hashlib.sha256(draw_faces(domain, n, size, seed=5)[0].tobytes()).hexdigest()[:16]


def record(**values):
    """A face on which every attribute can be seen."""
    return (
        sample_face("selfie", np.random.default_rng(2))
        | {
            "glasses": True,
            "collar": True,
            "eye_open": 0.8,
            "mouth_open": 0.4,
            "turn": 0.0,
            "tilt": 0.0,
            "nod": 0.0,
            "fringe": "side",
            "part": 0.1,
            "hair_length": 0.35,
            "hair_shade": 0.5,
            "scale": 0.85,
            "skin_tone": 0.2,
            "ribbon": True,
            "backdrop": "deep",
            "highlight": "band",
            "age": 0.8,
            "gloss": 0.5,
            "background": "blobs",
            "cloth_shade": 0.8,
        }
        | values
    )


def ends(name):
    """Two values of an attribute, low and high."""
    low = record()[name]
    return (
        NAMES.get(name)
        or ENDS.get(name)
        or ((False, True) if isinstance(low, bool) else (0.0, 1.0))
    )


def draw(face, domain):
    return draw_face(face, domain, 64, np.random.default_rng(0)).astype(int)


def changed(name, domain):
    """How many of the 64 x 64 pixels change by 10 or more of 255 when an attribute goes from low
    to high."""
    low, high = [draw(record(**{name: value}), domain) for value in ends(name)]
    return (abs(low - high).max(-1) >= 10).sum()


@pytest.mark.parametrize("domain", DOMAINS)
def test_shared_attributes_are_seen_in_both_domains(domain):
    assert {name: changed(name, domain) for name in SHARED if changed(name, domain) < 12} == {}


@pytest.mark.parametrize(
    "domain, own, others", [("anime", ANIME_ONLY, SELFIE_ONLY), ("selfie", SELFIE_ONLY, ANIME_ONLY)]
)
def test_private_attributes_are_seen_in_their_own_domain_alone(domain, own, others):
    assert {name for name in own if changed(name, domain) < 12} == set()
    face = draw(record(), domain)
    assert {
        name for name in others if (draw(record(**{name: ends(name)[1]}), domain) != face).any()
    } == set()


@pytest.mark.parametrize("domain", DOMAINS)
def test_record_holds_every_attribute(domain):
    face = sample_face(domain, np.random.default_rng(0))
    assert list(face) == [*SHARED, *ANIME_ONLY, *SELFIE_ONLY] and len(set(face)) == len(face)
    assert all(isinstance(value, (float, bool, str)) for value in face.values())
    assert set(face) <= set(faces.__doc__.split())


def test_domains_differ_in_what_they_share():
    anime, selfie = [
        pd.DataFrame([sample_face(domain, np.random.default_rng(i)) for i in range(300)])
        for domain in DOMAINS
    ]
    for more, less, names in (
        (selfie, anime, ["glasses", "skin_tone"]),
        (anime, selfie, ["hair_length", "eye_open"]),
    ):
        assert (more[names].mean() > 1.3 * less[names].mean()).all()
    assert selfie.turn.std() > 1.2 * anime.turn.std() and anime.tilt.std() > 1.2 * selfie.tilt.std()


@pytest.mark.parametrize("domain, size, n", CHECKSUMS)
def test_same_bytes_as_ever(domain, size, n):
    assert checksum(domain, size, n) == CHECKSUMS[domain, size, n]


def test_same_bytes_without_the_processor_s_extras():
    found = np.show_config("dicts")["SIMD Extensions"].get("found", [])
    if not found:
        pytest.skip("numpy found no processor features beyond its baseline here")
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_faces import *; print(*(checksum(*key) "
        "for key in CHECKSUMS))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(found)},
    )
    assert run.stdout.split() == list(CHECKSUMS.values()), run.stderr


def test_nothing_that_differs_between_machines_is_used():
    """No matrix product and no numpy function whose last bits depend on the library or processor
    below it."""
    banned = {
        "dot",
        "matmul",
        "einsum",
        "linalg",
        "sin",
        "cos",
        "tan",
        "arctan2",
        "exp",
        "log",
        "power",
        "mean",
        "hypot",
        "normal",
        "standard_normal",
        "beta",
        "gamma",
        "choice",
        "shuffle",
    }
    for path in Path(faces.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (
                isinstance(node, ast.BinOp) and isinstance(node.op, (ast.MatMult, ast.Pow))
            ), path.name
            assert not (isinstance(node, ast.Attribute) and node.attr in banned), (
                path.name,
                node.attr,
            )


def test_counterparts_are_the_same_people_in_the_other_domain():
    _, table = draw_faces("anime", 3, 32, seed=1, split="val")
    others = draw_counterparts("anime", 3, 32, seed=1, split="val")
    assert others.shape == (3, 32, 32, 3) and others.dtype == np.uint8
    assert (others[:2] == draw_counterparts("anime", 2, 32, seed=1, split="val")).all()
    key = np.random.default_rng([1, 1, 0, 2, 1])
    assert (others[2] == draw_face(table.to_dict("records")[2], "selfie", 32, key)).all()
    with pytest.raises(InputError, match="split"):
        draw_counterparts("anime", 1, split="train")


def test_all_cores_draw_what_one_draws(monkeypatch):
    one, table = draw_faces("selfie", 23, 16)
    monkeypatch.setattr(faces, "CHUNK", 2)
    many, again = draw_faces("selfie", 23, 16)
    assert (many == one).all() and again.equals(table)


def test_tick_is_called_after_every_face():
    ticks = []
    draw_faces("selfie", 3, 16, tick=ticks.append)
    assert sum(ticks) == 3


def test_export_is_whole_and_refuses_what_is_there(tmp_path, capsys):
    arguments = [
        str(tmp_path / "set"),
        "--size",
        "16",
        "--train-a",
        "3",
        "--train-b",
        "2",
        "--eval",
        "2",
        "--seed",
        "4",
    ]
    assert main(arguments) == 0 and "13 faces" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "set/attributes.csv", keep_default_na=False)
    assert (
        list(table.columns) == ["split", "domain", "file", *SHARED, *ANIME_ONLY, *SELFIE_ONLY]
        and len(table) == 13
    )
    images = [np.asarray(Image.open(tmp_path / f"set/train/anime/{i:05d}.png")) for i in range(3)]
    assert (np.stack(images) == draw_faces("anime", 3, 16, seed=4)[0]).all()
    image = np.asarray(Image.open(tmp_path / "set/counterparts/test/selfie/00001.png"))
    assert (image == draw_counterparts("anime", 2, 16, seed=4)[1]).all()
    assert main(arguments) == 2 and "not an empty folder" in capsys.readouterr().err
    assert not (tmp_path / "set/counterparts/train").exists() and len(list(tmp_path.iterdir())) == 1


def test_export_refuses_the_folder_one_is_in_and_a_negative_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["."]) == 2 and "the folder that you are in" in capsys.readouterr().err
    assert (
        main(["/dev/null/set"]) == 2
        and "cannot be written (Not a directory); name another folder" in capsys.readouterr().err
    )
    with pytest.raises(InputError, match="seed: got -1"):
        draw_faces("anime", 1, 16, seed=-1)


def test_export_that_fails_leaves_nothing(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file" / "set"), "--eval", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ganlib.faces.export.write_all", interrupt)
    assert main([str(tmp_path / "set")]) == 130 and len(list(tmp_path.iterdir())) == 1
