"""Names from outside (of data, domains, files, folders) wherever they are shown: printed, in a
table, in a figure, in a page."""

import io
import json
import os
import warnings
import zipfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganlib import InputError
from ganlib.compare.tables import gather
from ganlib.data.domains import load_domains
from ganlib.doctor import __main__ as doctor_command
from ganlib.doctor import tell as doctor_tell
from ganlib.doctor.examine import Diagnosis
from ganlib.errors import one_line, printable
from ganlib.report.page import colophon
from ganlib.show.plots import MOST_DRAWN, drawn, show_densities, show_grid

NAMES = [
    b"\xe9t\xe9",
    b"$_$",
    b"a\nb\x1b[2J",
    "画像 🙂".encode(),
    "אב\u202e".encode(),
    b"x" * 200,
    b"-rf",
    b"=1+1",
    b"<b>*_`|&",
    b"back\\slash",
    b"_hidden",
    b"nan",
    b"__",
    b" ",
    "e\u0301".encode(),
    b"\xff$\\frac{$",
]


def make(folder, names, n=5):
    for seed, name in enumerate(names):
        os.makedirs(os.path.join(os.fsencode(folder), name))
        rng = np.random.default_rng(seed)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
                os.path.join(os.fsdecode(os.fsencode(folder)), os.fsdecode(name), f"{i}.png")
            )
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_domain_of_any_name_is_read_and_shown(tmp_path, name):
    make(tmp_path / "set", [name, b"other"])
    shown = printable(os.fsdecode(name))
    data = load_domains(tmp_path / "set", 32)
    assert sorted(data.domains) == sorted([shown, "other"]) and all(
        d.isprintable() for d in data.domains
    )
    assert (
        load_domains(tmp_path / "set", 32, domain_a=os.fsdecode(name)).domains
        == load_domains(tmp_path / "set", 32, domain_a=shown).domains
        == (shown, "other")
    )
    data.counts()._repr_html_().encode()
    "".join(data.notes).encode()
    assert json.loads(doctor_tell.to_json(data, Diagnosis(None, [], {}), None))["domains"] == list(
        data.domains
    )
    with pytest.raises(InputError) as caught:
        load_domains(tmp_path / "set", 32, domain_a=os.fsdecode(name) + "?")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_doctor_of_names_that_are_not_utf_8(tmp_path, capsys):
    folder = make(tmp_path / os.fsdecode(b"d\xe9"), [b"\xe9t\xe9", b"$_$"])
    assert (
        doctor_command.main(
            [str(folder), "--no-cost", "--image-size", "32", "--out", str(folder / "out")]
        )
        == 1
    )
    out = capsys.readouterr().out
    out.encode()
    assert (
        out.startswith(r"d\udce9: A is $_$, B is \udce9t\udce9")
        and r"training images of \udce9t\udce9: 3" in out
    )
    assert json.loads((folder / "out/doctor.json").read_text())["domains"] == [
        "$_$",
        r"\udce9t\udce9",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_drawn_as_it_is_without_a_warning(name):
    name = printable(os.fsdecode(name))
    table = pd.DataFrame({"value": np.arange(20) % 7, "domain": [name] * 10 + ["other"] * 10})
    with warnings.catch_warnings(action="error"):
        figure, grid = (
            show_densities(table, ["value"]),
            show_grid([torch.zeros(1, 3, 8, 8)], [f"A\n{name}"]),
        )
        for drawing in (figure, grid):
            drawing.canvas.draw()
    plt.close("all")
    texts = [*figure.legends[0].get_texts(), *grid.axes[0].texts]
    assert [text.get_text() for text in texts] == [drawn(name), "other", f"A\n{drawn(name)}"]
    assert all(
        text._preprocess_math(text.get_text())[1] is not True for text in texts
    )  # none is mathematics
    assert all(
        text._preprocess_math(text.get_text())[0].count("$") == text.get_text().count("$")
        for text in texts
    )


def test_drawn_names_differ_where_names_do():
    assert drawn("a$b$") == r"a\$b\$" and drawn("画") == r"\u753b" and drawn("été") == "été"
    long = [drawn(f"{i}{'x' * 200}{j}") for i in range(3) for j in range(3)]
    assert len(set(long)) == 9 and all(len(name) == MOST_DRAWN for name in long)


def test_errors_are_one_line_whatever_they_cite():
    assert (
        str(InputError("run folder a\nb\x1b[2J\udce9\\x: none"))
        == r"run folder a\nb\x1b[2J\udce9\x: none"
    )
    assert one_line(printable("\n\\")) == printable("\n\\")


def test_page_of_a_run_with_any_names(tmp_path):
    run = {
        "arch": "cyclegan",
        "recipe": "default",
        "steps": 1,
        "pairs": 1,
        "seed": 0,
        "precision": "float32",
        "wall_seconds": 1,
        "pairs_per_second": 1,
        "memory_mib": 1,
        "data": {
            "name": "<b>\n\udce9",
            "domains": ["<i>", "$_$"],
            "counts": [[1, 1, 1]] * 2,
            "fingerprint": "f" * 64,
        },
    }
    folder = tmp_path / os.fsdecode(b"<u>\xe9")
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(run))
    page = colophon([{"name": "02", "runs": [folder], "seconds": 1, "parameters": {}}])
    page.encode()
    assert (
        r"&lt;b&gt;\n\udce9: A &lt;i&gt;, B $_$" in page
        and "<u>" not in page
        and r"&lt;u&gt;\udce9" in page
    )


@pytest.mark.parametrize("name", [b"\xe9", b"a\nb"])
def test_run_folder_of_a_name_that_no_table_holds_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="a name that no table holds; rename it") as caught:
        gather([os.fsdecode(name)])
    assert str(caught.value).isprintable()


def picture(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(
        file, "PNG"
    )
    return file.getvalue()


class OldName(zipfile.ZipInfo):
    """A member whose name is these bytes, without the mark of UTF-8."""

    def __init__(self, name):
        super().__init__(name.hex())
        self.name = name

    def _encodeFilenameFlags(self):
        return self.name, self.flag_bits & ~0x800


def test_zip_of_another_code_page_is_read_the_same_every_time(tmp_path):
    """Without the mark of UTF-8 names are read as cp437: odd to see, and never lost or mixed up."""
    for encoding, names in (("cp932", ("表A", "写真")), ("cp437", ("été", "hiver"))):
        path = tmp_path / f"{encoding}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for k, name in enumerate(names):
                for i in range(5):
                    archive.writestr(
                        OldName(f"{name}/{i}.png".encode(encoding)), picture(10 * k + i)
                    )
        data = load_domains(path, 32)
        assert (
            len(set(data.domains)) == 2
            and data.counts().to_numpy().sum() == 10
            and all(d.isprintable() for d in data.domains)
        )
        assert load_domains(path, 32).fingerprint == data.fingerprint
