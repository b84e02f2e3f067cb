"""Pictures through a trained model: any size, any kind, folders, and what goes wrong."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganlib
from ganlib.data.domains import load_domains, to_float
from ganlib.errors import InputError
from ganlib.evaluate.translate import to_bytes
from ganlib.loop import fit
from ganlib.runs.kept import keep
from ganlib.use import files, translator
from ganlib.use.__main__ import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a few steps at 16 pixels, kept small."""
    folder = tmp_path_factory.mktemp("use")
    faces = load_domains(image_size=16, builtin_a=8, builtin_b=8, builtin_eval=8)
    cfg = ganlib.config.TrainConfig.from_recipe(
        "default", image_size=16, ngf=4, ndf=4, d_layers=1, steps=2, batch_size=1
    )
    fit(cfg, faces, folder / "run")
    return keep(folder / "run", folder / "kept")


@pytest.fixture(scope="module")
def model(run):
    return ganlib.load(run)


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@torch.no_grad()
def test_picture_is_what_the_generator_makes_of_it(model):
    for to, net in (("B", model.nets["b"]), ("anime", model.nets["a"])):
        made = model(picture(16, 16), to)
        pixels = torch.from_numpy(np.asarray(picture(16, 16)).copy()).permute(2, 0, 1)[None]
        expected = to_bytes(net(to_float(pixels)))[0].permute(1, 2, 0).numpy()
        assert made.mode == "RGB" and (np.asarray(made) == expected).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (17, 23), (64, 64), (65, 130)])
def test_picture_of_any_size_keeps_it(model, size):
    """One pixel, less than the border that is added, no multiple, just whole, in tiles."""
    assert model(picture(*size)).size == size[::-1]


def test_pictures_of_other_kinds(model):
    """Grey, with transparency (laid on white), of 16 bits."""
    grey = picture(16, 16).convert("L")
    assert (np.asarray(model(grey)) == np.asarray(model(grey.convert("RGB")))).all()
    clear = picture(16, 16)
    clear.putalpha(0)
    white = Image.new("RGB", (16, 16), "white")
    assert (np.asarray(model(clear)) == np.asarray(model(white))).all()
    ramp = np.arange(256).reshape(16, 16)
    wide = Image.fromarray((ramp * 257).astype(np.uint16))
    narrow = Image.fromarray(ramp.astype(np.uint8))
    assert (np.asarray(model(wide)) == np.asarray(model(narrow))).all()


def test_tiles_of_a_network_that_sees_a_pixel_are_seamless():
    """Weights add up to 1 at each pixel, and each tile lands where it was cut."""
    net = torch.nn.Conv2d(3, 3, 1)
    images = torch.rand(2, 3, 72, 120) * 2 - 1
    made = translator.translate_tiles(net, images, 32, 4)
    assert torch.allclose(made, net(images).detach(), atol=1e-6)


@pytest.mark.parametrize("side", [4, 32, 36, 60, 64, 100, 132])
def test_tiles_cover_a_side(side):
    """From its start to its end, neighbours by a quarter of a tile at least."""
    found = translator.starts(side, 32, 4)
    assert found[0] == 0 and found[-1] + 32 >= side and all(start % 4 == 0 for start in found)
    assert found[-1] <= max(0, side - 32)
    for one, next_one in zip(found, found[1:]):
        assert next_one - one <= 24 + 2  # rounded to the factor


def lay_out(folder):
    """Five pictures in two folders, a text among them."""
    for i, name in enumerate(("a.png", "b.jpg", "deep/a.png", "deep/c.gif")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(16, 16 + i, i).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def listed(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.png"))


def test_folder_keeps_its_names(run, tmp_path, capsys):
    source = lay_out(tmp_path / "in")
    before = {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    out = tmp_path / "out"
    assert main([str(run), str(source), "--to", "B", "--out", str(out)]) == 0
    assert listed(out) == ["a.png", "b.png", "deep/a.png", "deep/c.png"]
    assert Image.open(out / "deep/c.png").size == (19, 16)
    assert before == {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    assert capsys.readouterr().out.endswith(f"4 of 4 files translated: {out}\n")
    expected = np.asarray(ganlib.load(run)(Image.open(source / "a.png")))
    assert (np.asarray(Image.open(out / "a.png")) == expected).all()


def test_files_and_patterns_at_the_size_of_the_training(run, tmp_path):
    source = lay_out(tmp_path / "in")
    inputs = [str(source / "*.jpg"), str(source / "deep/c.gif")]
    out = tmp_path / "out"
    assert main([str(run), *inputs, "--to", "selfie", "--out", str(out), "--resize"]) == 0
    assert listed(out) == ["b.png", "c.png"]
    assert {Image.open(p).size for p in out.glob("*.png")} == {(16, 16)}


def test_goes_on_where_it_stopped(run, model, tmp_path, monkeypatch):
    source = lay_out(tmp_path / "in")
    monkeypatch.setattr(files, "BATCH", 1)
    write, calls = files.write, []

    def stopped(*args):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(args)
        return write(*args)

    monkeypatch.setattr(files, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.translate_files(model, [source], tmp_path / "out")
    assert len(listed(tmp_path / "out")) == 2
    monkeypatch.setattr(files, "write", lambda *args: calls.append(args) or write(*args))
    told = files.translate_files(model, [source], tmp_path / "out")
    assert set(told.values()) == {""} and len(calls) == 4 == len(listed(tmp_path / "out"))


def test_bad_file_is_named_and_left_out(run, tmp_path, capsys):
    source = lay_out(tmp_path / "in")
    (source / "note.txt").write_text("no picture")
    assert main([str(run), str(source), "--to", "B", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert re.fullmatch(rf"error: {source}/note.txt: no image .*; left out\n", said.err)
    assert "4 of 5 files translated" in said.out and len(listed(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["in"], "in/out", "lies in the input"),
        (["in"], "in", "lies in the input"),
        (["in/a.png"], "in", "is an input, which is never written over"),
        (["in/a.png", "in/deep/a.png"], "out", "both would be written to"),
        (["in/x*.png"], "out", "no file there"),
        (["nowhere"], "out", "no file there"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, tmp_path, inputs, out, message):
    lay_out(tmp_path / "in")
    arguments = [str(tmp_path / name) for name in inputs]
    with pytest.raises(InputError, match=message) as error:
        main([str(run), *arguments, "--to", "B", "--out", str(tmp_path / out)])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_domain_that_the_model_does_not_know(model, tmp_path):
    with pytest.raises(InputError, match=r"to 'C': .* A \(anime\) or B \(selfie\)"):
        model(picture(16, 16), "C")


def test_folder_of_another_model_is_not_mixed(model, tmp_path):
    source = lay_out(tmp_path / "in")
    files.translate_files(model, [source], tmp_path / "out")
    before = json.loads((tmp_path / "out" / files.RECORD).read_text())
    with pytest.raises(InputError, match="another model, direction or size"):
        files.translate_files(model, [source], tmp_path / "out", "A")
    assert json.loads((tmp_path / "out" / files.RECORD).read_text()) == before


def test_run_without_generators(run, tmp_path):
    folder = tmp_path / run.name
    folder.mkdir()
    for path in Path(run).iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="its generators were not kept"):
        ganlib.load(folder)
