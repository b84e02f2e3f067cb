"""Pictures through a trained model: any size, any kind, folders, and what goes wrong."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import ganlib
from ganlib.config import TrainConfig
from ganlib.data.domains import load_domains, to_float
from ganlib.errors import InputError
from ganlib.evaluate.translate import generate, to_bytes
from ganlib.loop import fit
from ganlib.runs.finished import load_run
from ganlib.runs.kept import keep
from ganlib.use import files, translator
from ganlib.use.__main__ import main

FACES = dict(image_size=16, builtin_a=8, builtin_b=8, builtin_eval=8)
SMALL = dict(image_size=16, ngf=4, ndf=4, d_layers=1, steps=2, batch_size=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of a few steps at 16 pixels."""
    folder = tmp_path_factory.mktemp("use") / "run"
    fit(TrainConfig.from_recipe("default", **SMALL), load_domains(**FACES), folder)
    return folder


@pytest.fixture(scope="module")
def run(whole, tmp_path_factory):
    """The same, kept small."""
    return keep(whole, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def model(run):
    return ganlib.load(run)


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def pixels_of(image):
    """uint8 (1, 3, H, W)."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None]


@torch.no_grad()
def test_picture_is_what_the_generator_makes_of_it(whole, run):
    """To B by g_ab, to A by g_ba; of a whole run and of a kept one."""
    for folder in (whole, run):
        model = ganlib.load(folder)
        nets = load_run(folder).ema
        for to, net in (("B", nets.g_ab), ("selfie", nets.g_ab), ("a", nets.g_ba)):
            expected = to_bytes(net(to_float(pixels_of(picture(16, 16)))))
            made = model(picture(16, 16), to)
            assert made.mode == "RGB" and (pixels_of(made) == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "factor"), [({"arch": "uvcgan"}, 4), ({"coarse_until": 0.5, "d_coarse": 1.0}, 8)]
)
def test_other_generators_take_any_size(tmp_path, choice, factor):
    """One with skips, and one at half the size, whose images are multiples of 8."""
    cfg = TrainConfig.from_recipe("cyclegan", **SMALL | {"image_size": 32, **choice})
    fit(cfg, load_domains(**FACES | {"image_size": 32}), tmp_path / "run")
    model = ganlib.load(tmp_path / "run")
    mirrored = translator.pad(to_float(pixels_of(picture(21, 34))), factor)
    assert mirrored.shape[2:] == (24, 40 if factor == 8 else 36)
    expected = to_bytes(generate(model.nets["b"], mirrored))[..., :21, :34]
    assert (pixels_of(model(picture(21, 34))) == expected).all()


def test_border_is_mirrored():
    """Also where the picture is smaller than what is added."""
    image = torch.arange(3.0).expand(1, 3, 3, 3)
    made = translator.pad(image, 4)
    assert made.shape == (1, 3, 8, 8) and made[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert (translator.pad(image[..., :1], 4) == 0).all()


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


def test_only_larger_pictures_are_cut_into_tiles(model, monkeypatch):
    cut = []
    monkeypatch.setattr(translator, "translate_tiles", lambda *args: cut.append(args) or args[1])
    model(picture(64, 64))
    assert not cut
    model(picture(64, 68))
    assert len(cut) == 1 and cut[0][2:] == (64, 4)


def test_tiles_land_where_they_were_cut_and_fade_into_each_other():
    """By a network that answers with the column that a tile begins with, 0, 24 and 48."""
    images = torch.arange(80.0).expand(1, 3, 32, 80)
    net = torch.nn.Conv2d(3, 3, 1)
    net.forward = lambda part: part[..., :1].expand_as(part)
    row = translator.translate_tiles(net, images, 32, 4)[0, 0, 10]
    for part, value in ((row[:24], 0.0), (row[32:48], 24.0), (row[56:], 48.0)):
        assert torch.allclose(part, torch.tensor(value))
    assert (row[24:32].diff() > 0).all() and (row[48:56].diff() > 0).all()


@pytest.mark.parametrize("side", [4, 32, 36, 60, 64, 100, 132])
def test_tiles_cover_a_side(side):
    """From its start to its end, neighbours by a quarter of a tile at least."""
    found = translator.starts(side, 32, 4)
    assert found[0] == 0 and found[-1] + 32 >= side and all(start % 4 == 0 for start in found)
    assert found[-1] <= max(0, side - 32)
    for one, next_one in zip(found, found[1:]):
        assert next_one - one <= 24 + 2  # rounded to the factor


def lay_out(folder):
    """Four pictures in two folders, two of them of one size, and a hidden file."""
    for i, name in enumerate(("a.png", "b.png", "deep/a.png", "deep/c.gif")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(16, 16 + i // 2, i).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def listed(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.png"))


def test_folder_keeps_its_names(run, model, tmp_path, capsys):
    source = lay_out(tmp_path / "in")
    before = {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    out = tmp_path / "out"
    assert main([str(run), str(source), "--to", "B", "--out", str(out)]) == 0
    assert listed(out) == ["a.png", "b.png", "deep/a.png", "deep/c.png"]
    for name in ("a.png", "b.png", "deep/a.png"):
        expected = pixels_of(model(Image.open(source / name)))
        # A batch is added up otherwise than a picture alone, on some processors
        difference = (pixels_of(Image.open(out / name)).int() - expected.int()).abs()
        assert difference.max() <= 1 and difference.count_nonzero() <= 8, name
    assert before == {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    assert capsys.readouterr().out.endswith(f"4 of 4 files translated: {out}\n")
    (out / "b.png").unlink()
    assert main([str(run), str(source), "--to", "B", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"4 of 4 files translated, 3 of them before: {out}\n")


def test_folder_is_translated_from_python_as_by_the_command(run, model, tmp_path):
    source = lay_out(tmp_path / "in")
    main([str(run), str(source), str(source / "a.png"), "--to", "B", "--out", str(tmp_path / "1")])
    told = model.files([source, source / "a.png"], tmp_path / "2", to="B")
    assert len(told) == 4 and set(told.values()) == {""}
    assert model.files(str(source / "deep/c.gif"), tmp_path / "3").keys() == {
        str(source / "deep/c.gif")
    }
    for name in listed(tmp_path / "1"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_files_and_patterns_at_the_size_of_the_training(run, model, tmp_path):
    source = lay_out(tmp_path / "in")
    picture(32, 32, 9).save(source / "large.tif")
    inputs = [str(source / "*.tif"), str(source / "deep/c.gif"), str(source / "large.tif")]
    out = tmp_path / "out"
    assert main([str(run), *inputs, "--to", "selfie", "--out", str(out), "--resize"]) == 0
    assert listed(out) == ["c.png", "large.png"]
    assert {Image.open(p).size for p in out.glob("*.png")} == {(16, 16)}
    small = ImageOps.fit(picture(32, 32, 9), (16, 16), Image.Resampling.LANCZOS)
    assert (pixels_of(Image.open(out / "large.png")) == pixels_of(model(small))).all()


def test_goes_on_where_it_stopped(model, tmp_path, monkeypatch):
    """At every place where it can be stopped: what was not written is translated, once."""
    source = lay_out(tmp_path / "in")
    monkeypatch.setattr(files, "BATCH", 1)
    write = files.write_atomic
    for stop in range(8):
        out, written = tmp_path / f"out{stop}", []

        def stopped(path, content):
            if len(written) == stop:
                raise KeyboardInterrupt
            written.append(path)
            write(path, content)

        monkeypatch.setattr(files, "write_atomic", stopped)
        with pytest.raises(KeyboardInterrupt):
            files.translate_files(model, [source], out)
        monkeypatch.setattr(files, "write_atomic", write)
        done = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
        assert set(files.translate_files(model, [source], out)[0].values()) == {""}
        assert listed(out) == ["a.png", "b.png", "deep/a.png", "deep/c.png"]
        assert all(p.stat().st_mtime_ns == time for p, time in done.items())


def test_changed_picture_is_translated_again(model, tmp_path):
    source = lay_out(tmp_path / "in")
    files.translate_files(model, [source], tmp_path / "out")
    picture(16, 16, 7).save(source / "a.png")
    (tmp_path / "out/b.png").unlink()
    files.translate_files(model, [source], tmp_path / "out")
    made = pixels_of(Image.open(tmp_path / "out/a.png"))
    assert (made == pixels_of(model(picture(16, 16, 7)))).all()
    assert (tmp_path / "out/b.png").exists()


def test_what_is_left_out_is_named(run, tmp_path, capsys):
    """No picture, a link to nothing, and the name of another picture's translation."""
    source = lay_out(tmp_path / "in")
    (source / "a.txt").write_text("of a.png")
    (source / "gone.png").symlink_to("nowhere")
    out = str(tmp_path / "out")
    assert main([str(run), str(source), "--to", "B", "--out", out]) == 1
    said = capsys.readouterr()
    assert re.search(rf"^{source}/a.txt: no image .*; left out$", said.err, re.M)
    assert f"{source}/gone.png: No such file or directory; left out\n" in said.err
    assert "4 of 6 files translated" in said.out and len(listed(tmp_path / "out")) == 4
    assert main([str(run), str(source / "deep/a.png"), "--to", "B", "--out", out]) == 1
    told = f"{source}/deep/a.png: {out}/a.png is the translation of {source}/a.png; left out\n"
    assert told in capsys.readouterr().err


def test_two_kinds_of_one_name_are_both_translated(model, tmp_path):
    source = lay_out(tmp_path / "in")
    picture(16, 16, 5).save(source / "a.tif")
    files.translate_files(model, [source], tmp_path / "out")
    assert {"a.png", "a.tif.png"} < set(listed(tmp_path / "out"))


def test_picture_is_turned_as_its_exif_says(run, model, tmp_path):
    """By file and by call alike."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(16, 24).save(tmp_path / "turned.png", exif=exif)
    main([str(run), str(tmp_path / "turned.png"), "--to", "B", "--out", str(tmp_path / "out")])
    by_file = Image.open(tmp_path / "out/turned.png")
    by_call = model(Image.open(tmp_path / "turned.png"))
    assert by_file.size == (16, 24) and (pixels_of(by_file) == pixels_of(by_call)).all()


def test_size_that_the_model_has_not_seen_is_told_once(model, tmp_path, capsys):
    for name in ("1.png", "2.png"):
        picture(40, 32).save(tmp_path / name)
    files.translate_files(model, [tmp_path / "*.png"], tmp_path / "out")
    assert capsys.readouterr().err.count("32x40 pixels, and the model was trained at 16") == 1


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["in"], "in/out", "lies in the input"),
        (["in"], "in", "lies in the input"),
        (["in/a.png"], "in", "is an input, which is never written over"),
        (["in/a.png"], "in/deep", "is there, and no translation of this model"),
        (["in/a.png"], "in/b.png", "a file; expected a folder"),
        (["x" * 300], "out", "no such file or folder; expected pictures"),
        (["in/a.png", "in/deep/a.png"], "out", "both would be written to"),
        (["in/x*.png"], "out", "no such file or folder"),
        (["nowhere"], "out", "no such file or folder"),
        (["in/empty"], "out", "no files in it"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, tmp_path, inputs, out, message):
    lay_out(tmp_path / "in")
    (tmp_path / "in/empty").mkdir()
    arguments = [str(tmp_path / name) for name in inputs]
    with pytest.raises(InputError, match=message) as error:
        main([str(run), *arguments, "--to", "B", "--out", str(tmp_path / out)])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made_is_told_in_one_line(run, tmp_path):
    picture(16, 16).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="^/proc/ganlib: cannot be made there; choose another"):
        main([str(run), str(tmp_path / "a.png"), "--to", "B", "--out", "/proc/ganlib"])


def test_domain_that_the_model_does_not_know(model):
    with pytest.raises(InputError, match=r"to 'C': .* A \(anime\) or B \(selfie\)"):
        model(picture(16, 16), "C")


def test_name_of_a_domain_comes_before_a_letter(model, monkeypatch):
    """As of a folder B that was made domain A."""
    monkeypatch.setattr(model, "domains", ("B", "other"))
    assert [model.side(name) for name in ("B", "other", "b", "A")] == ["a", "b", "b", "a"]


@pytest.mark.parametrize("wrong", ["a.png", np.zeros((4, 4, 3)), Image.new("RGB", (0, 4))])
def test_what_is_no_picture_is_refused(model, wrong):
    with pytest.raises(InputError, match="expected"):
        model(wrong)


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
