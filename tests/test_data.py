"""Data: both layouts from folders and zips, every kind of image, and every input that cannot be
used."""

import io
import zipfile
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganlib import InputError, loop
from ganlib.config import Execution
from ganlib.data.decode import decode_image
from ganlib.data.domains import Pair, fixed_batches, load_domains, pair_batches, to_float
from ganlib.evaluate.judge import Judge
from ganlib.faces import DOMAINS, draw_faces
from ganlib.parallel.many_runs import train_grid
from ganlib.runs.folder import claim_run_folder
from ganlib.show.plots import show_densities

LONG = {
    f"{split}/{domain}": n
    for split, n in [("train", 6), ("val", 2), ("test", 3)]
    for domain in ("zebra", "horse")
}
SHORT = {"trainA": 6, "trainB": 7, "testA": 2, "testB": 3}


def png(colour=(10, 120, 230), size=(20, 20), mode="RGB", kind="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind, **options)
    return file.getvalue()


def make(target, counts, extra=()):
    """A folder, or a zip if target ends so, with that many images in each folder; image i is of
    grey level 10 i."""
    files = {
        f"{folder}/{i:03}.png": png((10 * i,) * 3) for folder, n in counts.items() for i in range(n)
    } | dict(extra)
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    return target


@pytest.mark.parametrize("kind", ["set", "set.zip"])
@pytest.mark.parametrize("above", ["", "my_set/"])
def test_both_layouts_from_folder_and_zip(tmp_path, kind, above):
    junk = {
        f"{above}__MACOSX/trainA/._0.png": b"no image",
        f"{above}trainA/notes.txt": b"",
        ".DS_Store": b"",
    }
    data = load_domains(make(tmp_path / kind, {above + k: n for k, n in SHORT.items()}, junk), 16)
    assert data.domains == ("A", "B")
    assert data.skipped.values.tolist() == [[f"{above}trainA/notes.txt", "empty"]]
    assert (
        "1 file left out: no image by name or content" in data.notes
        and "2 hidden files passed over" in data.notes
    )
    # No val: a tenth of train, at least one
    assert data.counts().values.tolist() == [[5, 1, 2], [6, 1, 3]]
    assert data.train.a.shape == (5, 3, 16, 16) and data.train.a.dtype == torch.uint8
    assert any("A has no val: 1 images of train are held out" in note for note in data.notes)
    other = load_domains(
        make(tmp_path / f"2{kind}", {above + k: n for k, n in LONG.items()}), (16, 24)
    )
    assert other.domains == ("horse", "zebra") and other.train.b.shape == (6, 3, 16, 24)
    assert other.counts().values.tolist() == [[6, 2, 3]] * 2 and other.notes == [
        "A is horse, B is zebra (by alphabet; domain_a chooses)"
    ]


def test_linked_folders_are_followed(tmp_path):
    make(tmp_path / "elsewhere", {"set": 4})
    make(tmp_path / "set", {"trainB": 4})
    (tmp_path / "set/trainA").symlink_to(tmp_path / "elsewhere/set")
    assert load_domains(tmp_path / "set", 16).counts().values.tolist() == [[2, 1, 1]] * 2


def test_domain_a_is_chosen(tmp_path):
    data = load_domains(make(tmp_path / "set", LONG), 16, domain_a="zebra")
    assert data.domains == ("zebra", "horse") and data.notes == ["A is zebra, B is horse"]


def test_held_out_images_are_no_longer_in_train(tmp_path):
    data = load_domains(
        make(tmp_path / "set", {"trainA": 20, "trainB": 20, "testA": 1, "testB": 1}), 16
    )
    kept, held = [set(part[:, 0, 0, 0].tolist()) for part in (data.train.a, data.val.a)]
    assert (
        len(kept) == 18
        and len(held) == 2
        and not kept & held
        and kept | held == set(range(0, 200, 10))
    )


def test_image_is_the_same_from_folder_and_zip_and_its_order_is_by_name(tmp_path):
    folder, archive = [load_domains(make(tmp_path / name, LONG), 16) for name in ("set", "set.zip")]
    assert folder.fingerprint == archive.fingerprint
    assert folder.train.a[:, 0, 8, 8].tolist() == [0, 10, 20, 30, 40, 50]
    assert torch.equal(folder.test.b, archive.test.b)


@pytest.mark.parametrize(
    "mode, colour, expected",
    [
        ("RGB", (200, 100, 50), (200, 100, 50)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("LA", (90, 255), (90, 90, 90)),
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
        ("RGBA", (200, 100, 50, 0), (255, 255, 255)),
        ("P", 0, None),
        ("I;16", 257 * 160, (160, 160, 160)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("F", 0.5, (128, 128, 128)),
    ],
)
def test_every_mode_becomes_rgb(mode, colour, expected):
    kind = {"CMYK": "TIFF", "F": "TIFF"}.get(mode, "PNG")
    out, facts = decode_image(png(colour, (30, 20), mode, kind), (16, 16))
    assert (facts["width"], facts["height"], facts["format"]) == (30, 20, kind)
    assert out.shape == (3, 16, 16) and out.dtype == np.uint8
    if expected:
        assert (out == np.array(expected, np.uint8)[:, None, None]).all()


def test_orientation_of_a_camera_is_applied():
    image = Image.new("RGB", (40, 20), "black")
    # Left half; orientation 6 turns it by 90 degrees to the top
    image.paste("white", (0, 0, 20, 20))
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    image.save(file, "PNG", exif=exif)
    out, facts = decode_image(file.getvalue(), (40, 20))
    assert facts["remark"] == "turned as its EXIF says"
    assert (out[:, :18] > 250).all() and (out[:, -18:] < 5).all()


def test_scaling_is_antialiased_and_keeps_proportions():
    stripes = np.zeros((64, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    file = io.BytesIO()
    Image.fromarray(stripes).save(file, "PNG")
    out = decode_image(file.getvalue(), (16, 16))[0].astype(int)
    # Neither black nor white: every source pixel counts
    assert abs(out[:, :, 2:-2] - 127).max() < 12
    disc = np.hypot(*np.mgrid[-32:32, -64:64]) < 20
    file = io.BytesIO()
    Image.fromarray((disc * 255).astype(np.uint8)).save(file, "PNG")
    out = decode_image(file.getvalue(), (64, 64))[0][0] > 127
    assert abs(int(out.any(0).sum()) - int(out.any(1).sum())) <= 1  # round stays round


def test_unreadable_images_are_skipped_counted_and_listed(tmp_path):
    data = load_domains(
        make(
            tmp_path / "set",
            LONG,
            {"train/zebra/bad.png": b"no image", "train/zebra/cut.png": png()[:40]},
        ),
        16,
    )
    assert data.skipped.file.tolist() == ["train/zebra/bad.png", "train/zebra/cut.png"]
    assert [reason.startswith("no image (JPEG, PNG") for reason in data.skipped.reason] == [
        True,
        True,
    ]
    assert "2 of 24 images could not be read and were skipped" in data.notes


def test_too_many_unreadable_images_stop(tmp_path):
    bad = {f"train/zebra/bad{i}.png": b"no image" for i in range(10)}
    with pytest.raises(
        InputError,
        match=r"10 of 32 images cannot be read, more than 1 %; the first: train/zebra/bad0.png",
    ):
        load_domains(make(tmp_path / "set.zip", LONG, bad), 16)


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "no images found in a layout that is known; expected SPLIT/DOMAIN"),
        ({"a.png": png()}, "no images found in a layout that is known"),
        ({"pictures/a.png": png()}, r"1 domain \(pictures\), expected two"),
        (
            {"train/zebra/a.png": png(), "test/zebra/a.png": png()},
            r"1 domain \(zebra\), expected two",
        ),
        ({f"train/{d}/a.png": png() for d in "xyz"}, r"3 domains \(x, y, z\), expected two"),
        (
            {"trainA/a.png": b"no image", "trainB/a.png": png()},
            "no readable image of domain A in train",
        ),
        ({"testA/a.png": png(), "testB/a.png": png()}, "no readable image of domain A in train"),
        (
            {"trainA/a.png": png(), "trainB/a.png": png()},
            "1 readable images of domain A in train; expected 3 or more",
        ),
        ({"train/zebra/a.txt": b"", "train/horse/a.png": png()}, r"1 domain \(horse\)"),
    ],
)
@pytest.mark.parametrize("kind", ["set", "set.zip"])
def test_unusable_data_names_the_path_in_one_line(tmp_path, files, message, kind):
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        load_domains(make(tmp_path / kind, {}, files), 16)
    assert str(tmp_path / kind) in str(caught.value) and "\n" not in str(caught.value)


def test_data_that_is_not_there_or_no_zip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"data nowhere: .*; looked in {tmp_path}\)"):
        load_domains("nowhere")
    with pytest.raises(InputError, match=r"data .*/nowhere: no such folder or zip"):
        load_domains(tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(InputError, match="text.zip: neither a folder nor a zip"):
        load_domains(tmp_path / "text.zip")
    with pytest.raises(
        InputError, match="domain_a 'lion': no such domain in .*; there are horse and zebra"
    ):
        load_domains(make(tmp_path / "set", LONG), 16, domain_a="lion")


@pytest.mark.parametrize(
    "values, message",
    [
        ({"image_size": 0}, "image_size 0"),
        ({"image_size": "big"}, "image_size 'big'"),
        (
            {"image_size": (32, 48)},
            "32x48: builtin faces are square, .*; set image_size to one number",
        ),
        ({"builtin_a": 0}, "builtin_a 0"),
        ({"builtin_eval": 2.5}, "builtin_eval 2.5"),
        ({"image_size": (1, 2, 3)}, "image_size"),
        ({"seed": -1}, "seed -1"),
        ({"data": 5}, "data 5: expected"),
        ({"data": ""}, "data '': expected"),
    ],
)
def test_unusable_numbers_are_named(values, message):
    with pytest.raises(InputError, match=message):
        load_domains(**({"data": "builtin"} | values))


def test_bytes_of_zero_to_255_become_minus_one_to_one():
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
    assert to_float(torch.tensor([-1.0, 0.25, 1.0], dtype=torch.float64)).tolist() == [
        -1.0,
        0.25,
        1.0,
    ], "floats are there already"


def levels(n):
    """n images, image i of grey level i."""
    return torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 3, 2, 2)


def numbers(batch):
    return ((batch[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_each_pass_shows_all_of_a_with_new_partners():
    batches = pair_batches(Pair(levels(8), levels(5)), 4, seed=0, device="cpu")
    passes = [
        [numbers(x) for x in map(torch.cat, zip(*[next(batches) for _ in range(2)]))]
        for _ in range(3)
    ]
    assert all(sorted(a) == list(range(8)) and set(b) == set(range(5)) for a, b in passes)
    assert len({tuple(zip(*one)) for one in passes}) == 3
    again = pair_batches(Pair(levels(8), levels(5)), 4, seed=0, device="cpu")
    assert numbers(next(again)[1]) == passes[0][1][:4]


def test_fewer_images_than_a_batch_are_used_again():
    a, b = next(pair_batches(Pair(levels(3), levels(20)), 8, seed=0, device="cpu"))
    assert a.shape == (8, 3, 2, 2) and set(numbers(a)) == {0, 1, 2} and len(set(numbers(b))) == 8


@pytest.mark.parametrize("first", [1, 2, 5])
def test_batches_go_on_where_they_stopped_and_parts_make_up_the_whole(first):
    pair = Pair(levels(9), levels(5))  # two batches a pass: an image of A is left out of each
    whole = list(islice(pair_batches(pair, 4, 0, "cpu"), 8))
    parts = [islice(pair_batches(pair, 4, 0, "cpu", first, (i, 2)), 3) for i in (0, 1)]
    for expected, one, two in zip(whole[first:], *parts):
        assert all(torch.equal(e, torch.cat([a, b])) for e, a, b in zip(expected, one, two))


def test_batches_are_nchw_however_images_lie(faces):
    last = Pair(*[side.contiguous(memory_format=torch.channels_last) for side in faces.train])
    for batches in (pair_batches(last, 4, 0, "cpu"), fixed_batches(last, 4, "cpu")):
        assert all(image.is_contiguous() for image in next(batches))


def test_fixed_batches_cover_the_larger_domain():
    got = [(numbers(a), numbers(b)) for a, b in fixed_batches(Pair(levels(3), levels(5)), 2, "cpu")]
    assert got == [([0, 1], [0, 1]), ([2, 0], [2, 3]), ([1], [4])]
    assert len(list(fixed_batches(Pair(levels(3), levels(5)), 2, "cpu", limit=2))) == 1


def test_builtin_faces_are_drawn_from_records_and_repeat(faces):
    assert faces.domains == DOMAINS == ("anime", "selfie")
    assert [len(table) for table in faces.attributes["train"]] == [12, 14]
    assert (
        load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5).fingerprint
        == faces.fingerprint
    )
    assert (
        load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5, seed=1).fingerprint
        != faces.fingerprint
    )


@pytest.mark.parametrize("domain", DOMAINS)
def test_face_depends_on_its_place_and_not_on_how_many_are_drawn(domain):
    many, table = draw_faces(domain, 6, 32)
    few, _ = draw_faces(domain, 2, 32)
    assert (many[:2] == few).all() and not (many[0] == many[1]).all()
    assert not (draw_faces(domain, 1, 32, split="val")[0] == few[:1]).all()
    assert many.shape == (6, 32, 32, 3) and not table.isna().any().any()
    assert {"glasses", "hair_length"} <= set(table.columns)


@pytest.mark.parametrize("values", [{"domain": "manga"}, {"n": 0}, {"size": 8}, {"split": "dev"}])
def test_faces_name_what_they_cannot_draw(values):
    with pytest.raises(InputError, match=next(iter(values))):
        draw_faces(**({"domain": "anime", "n": 1} | values))


def test_densities_of_a_measure_that_is_the_same_everywhere():
    table = pd.DataFrame(
        {"colourfulness": [0.0] * 4, "contrast": [0.1, 0.2, 0.2, 0.3], "domain": list("xxyy")}
    )
    figure = show_densities(table, ["colourfulness", "contrast"])
    assert [text.get_text() for text in figure.legends[0].texts] == ["x", "y"]
    assert [len(panel.collections) for panel in figure.axes] == [0, 2, 0, 0] and not figure.axes[
        3
    ].get_visible()


@pytest.mark.slow
def test_fingerprint_follows_images_that_are_changed_in_memory(faces):
    mirrored = faces._replace(
        train=Pair(*[torch.cat([side, side.flip(-1)]) for side in faces.train])
    )
    copied = faces._replace(
        train=Pair(*[side.clone() for side in faces.train]),
        val=Pair(*[side.clone() for side in faces.val]),
    )
    assert not faces.changed and faces.settled() is faces
    assert copied.changed and copied.fingerprint == faces.fingerprint, (
        "the same images, so the same runs"
    )
    assert (
        mirrored.fingerprint not in (faces.fingerprint, "")
        and mirrored.fingerprint == mirrored.settled().fingerprint
    )
    own = load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5)
    assert own.fingerprint == faces.fingerprint
    own.test.b[4, 2, 31, 31] += 1
    assert own.changed and own.fingerprint != faces.fingerprint
    settled = own.settled()
    assert not settled.changed and settled.loaded is None and settled.fingerprint == own.fingerprint
    own.test.b[4, 2, 31, 31] -= 1
    assert settled.changed and own.fingerprint == settled.fingerprint == faces.fingerprint


def test_run_on_changed_images_is_another_run_and_is_not_given_to_processes_that_read_them_again(
    faces, tiny, tmp_path
):
    changed = faces._replace(train=Pair(*[side.flip(-1) for side in faces.train]))
    cfg = tiny(batch_size=4)
    claim_run_folder(tmp_path, cfg, faces.fingerprint)
    with pytest.raises(InputError, match="other images .data_fingerprint"):
        loop.fit(cfg, changed, tmp_path)
    with pytest.raises(
        InputError,
        match="each process reads the data itself, and does not see what was changed in memory",
    ):
        loop.fit(cfg, changed, tmp_path, Execution(processes=2))
    with pytest.raises(
        InputError,
        match="each process reads the data itself, and does not see what was changed in memory",
    ):
        train_grid([cfg], changed, tmp_path, scheduler="local")


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda faces: {"train": Pair(*map(to_float, faces.train))},
            "train.a of torch.float32: expected uint8 in 0 to 255; "
            "ganlib.evaluate.translate.to_bytes makes it",
        ),
        (
            lambda faces: {"val": Pair(faces.val.a, faces.val.b[0])},
            r"val.b of shape \(3, 32, 32\): expected \(N, 3, H, W\)",
        ),
        (
            lambda faces: {"train": Pair(faces.train.a[:6], faces.train.b)},
            "train.a: 6 images and 12 rows of attributes; change both",
        ),
        (
            lambda faces: {"test": Pair(faces.test.a[:4], faces.test.b), "attributes": None},
            "test.a: 4 images, and 5 counterparts of them are known",
        ),
    ],
)
def test_data_made_by_hand_that_cannot_be_trained_on_is_named_before_it_is(
    faces, tiny, tmp_path, change, message
):
    made = faces._replace(**change(faces))
    for use in (lambda: loop.fit(tiny(), made, tmp_path / "run"), lambda: Judge(made)):
        with pytest.raises(InputError, match=message):
            use()
    assert not (tmp_path / "run").exists()
