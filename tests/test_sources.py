"""Data sets that do not say their splits, that are too large for memory, or that come from the
hub."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganlib import InputError
from ganlib.data import decode as data_decode
from ganlib.data.domains import load_domains, load_truth
from ganlib.data.sources import MANIFEST, group_files
from ganlib.data.splits import fingerprints, near_duplicates
from ganlib.faces import SPLITS, draw_counterparts, draw_faces
from ganlib.system.files import PACKAGE


@pytest.fixture
def flat(tmp_path):
    """A folder of two flat domains: 40 anime faces and 30 selfies, three of the faces twice
    (once as a smaller JPEG)."""
    for domain, n in (("anime", 40), ("selfie", 30)):
        (tmp_path / "set" / domain).mkdir(parents=True)
        for i, face in enumerate(draw_faces(domain, n, 48)[0]):
            Image.fromarray(face).save(tmp_path / "set" / domain / f"{i:02}.png")
    for i in range(3):
        Image.open(tmp_path / f"set/anime/{i:02}.png").resize((32, 32)).save(
            tmp_path / f"set/anime/again{i}.jpg", quality=80
        )
    return tmp_path / "set"


def splits_of(data):
    return dict(zip(data.files.file, data.files.split))


def test_flat_folder_is_split_once_with_copies_on_one_side(flat):
    data = load_domains(flat, 32)
    assert data.counts().values.tolist() == [[35, 4, 4], [24, 3, 3]]
    split = splits_of(data)
    assert all(split[f"anime/{i:02}.png"] == split[f"anime/again{i}.jpg"] for i in range(3))
    table = pd.read_csv(flat / MANIFEST)
    assert (
        len(table) == 73
        and dict(zip(table.file, table.split)) == split
        and set(table.sha256.str.len()) == {64}
    )
    again = load_domains(flat, 32)
    assert again.fingerprint == data.fingerprint and splits_of(again) == split
    for s in SPLITS:  # the tensors are in the order of the files
        rows = data.files[(data.files.split == s) & (data.files.domain == "selfie")]
        expected = [
            data_decode.decode_image((flat / f).read_bytes(), (32, 32))[0] for f in rows.file
        ]
        assert np.array_equal(getattr(data, s).b, expected)


def test_splits_stay_when_files_are_added_and_come_again_without_the_manifest(flat):
    before = splits_of(load_domains(flat, 32))
    Image.new("RGB", (40, 40), "red").save(flat / "anime/new.png")
    data = load_domains(flat, 32)
    assert (
        splits_of(data) == before | {"anime/new.png": ""}
        and "1 file left out: not in the manifest" in data.notes
    )
    (flat / "anime/new.png").unlink()
    (flat / MANIFEST).unlink()
    for i in range(30):  # other names in another order, same contents
        (flat / f"selfie/{i:02}.png").rename(flat / f"selfie/x{99 - i}.png")
    after = splits_of(load_domains(flat, 32))
    assert {
        f"selfie/{i:02}.png": after[f"selfie/x{99 - i}.png"] for i in range(30)
    }.items() <= before.items()


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda flat: (flat / "anime/03.png").unlink(),
            "anime/03.png is in it, but not in the data; put the file back",
        ),
        (
            lambda flat: (flat / "anime/03.png").write_bytes((flat / "anime/04.png").read_bytes()),
            "anime/03.png has changed since",
        ),
        (
            lambda flat: (flat / MANIFEST).write_text("file,split\na,b\n"),
            "expected a CSV with the columns file, sha256, split",
        ),
        (lambda flat: (flat / MANIFEST).write_text(""), "expected a CSV with the columns"),
        (
            lambda flat: (flat / MANIFEST).write_bytes(b"\xff\xfe\x00"),
            "expected a CSV with the columns",
        ),
        (
            lambda flat: (flat / MANIFEST).write_text("file,sha256,split\nanime/03.png,0,dev\n"),
            "split 'dev' of anime/03.png",
        ),
    ],
)
def test_manifest_that_does_not_fit_is_refused(flat, spoil, message):
    load_domains(flat, 32)
    spoil(flat)
    with pytest.raises(InputError, match=message) as caught:
        load_domains(flat, 32)
    assert MANIFEST in str(caught.value) and "\n" not in str(caught.value)


def test_looking_leaves_no_manifest_and_hides_nothing_the_second_time(flat):
    for i in range(10):
        (flat / f"anime/bad{i}.png").write_bytes(b"no image")
    for _ in range(2):
        assert (
            len(load_domains(flat, 32, strict=False).skipped) == 10
            and not (flat / MANIFEST).exists()
        )
    for i in range(8):
        (flat / f"anime/bad{i}.png").unlink()
    trained = load_domains(flat, 32)
    # The manifest lists neither the broken files nor the new one; only the new one's reason is that
    for _ in range(2):
        Image.new("RGB", (40, 40), "red").save(flat / "anime/new.png")
        data = load_domains(flat, 32, strict=False)
        reasons = dict(data.skipped.values)
        assert set(reasons) == {"anime/bad8.png", "anime/bad9.png", "anime/new.png"}
        assert (
            reasons["anime/bad8.png"].startswith("no image")
            and reasons["anime/new.png"] == "not in the manifest"
        )
        assert data.fingerprint == trained.fingerprint and not any(
            "hidden" in note for note in data.notes
        )
        assert f"the splits are those of {MANIFEST}; delete it to split anew" in data.notes
    (flat / "anime/03.png").write_bytes(b"broken")
    (flat / "anime/04.png").unlink()
    # The doctor sees it all
    assert "anime/03.png" in set(load_domains(flat, 32, strict=False).skipped.file)
    with pytest.raises(
        InputError,
        match="anime/04.png is in it, but not in the data; put the file back, take its row out",
    ):
        load_domains(flat, 32)


def test_names_that_look_alike_are_told_apart(flat):
    for i, name in enumerate(("a\nb.png", "a\\nb.png")):
        (flat / "anime" / f"{i:02}.png").rename(flat / "anime" / name)
    assert load_domains(flat, 32).fingerprint == load_domains(flat, 32).fingerprint


def test_few_pictures_with_copies_are_split_all_the_same(tmp_path):
    for domain in ("anime", "selfie"):
        (tmp_path / domain).mkdir()
        for i, face in enumerate(draw_faces(domain, 7, 40)[0]):
            for name in (f"{i}.png", f"again{i}.png"):
                Image.fromarray(face).save(tmp_path / domain / name)
    assert load_domains(tmp_path, 32).counts().values.tolist() == [[10, 2, 2]] * 2


def test_flat_zip_has_its_manifest_beside_it(flat, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in flat.rglob("*.*"):
            archive.write(file, f"faces/{file.relative_to(flat)}")
    data = load_domains(tmp_path / "set.zip", 32)
    assert (tmp_path / f"set.zip.{MANIFEST}").exists() and data.domains == ("anime", "selfie")
    assert (
        load_domains(tmp_path / "set.zip", 32).fingerprint
        == data.fingerprint
        == load_domains(flat, 32).fingerprint
    )


def test_folder_that_cannot_take_a_manifest_is_used_all_the_same(flat, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("ganlib.data.splits.write_atomic", refuse)
    data = load_domains(flat, 32)
    assert (
        any("could not be written" in note for note in data.notes)
        and load_domains(flat, 32).fingerprint == data.fingerprint
    )


def test_images_that_are_all_alike_cannot_be_held_out(tmp_path):
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        face = Image.fromarray(draw_faces("anime", 1, 40)[0][0])
        for i in range(5):
            face.save(tmp_path / f"train{domain}/{i}.jpg", quality=70 + i)
    with pytest.raises(
        InputError, match="the 5 images of domain A are too alike to hold out a test"
    ):
        load_domains(tmp_path, 32)


@pytest.mark.slow
def test_near_duplicates_survive_saving_scaling_and_light_and_others_are_none():
    faces = [Image.fromarray(x) for x in draw_faces("selfie", 12, 64)[0]]
    file = io.BytesIO()
    faces[0].save(file, "JPEG", quality=40)
    changed = [
        Image.open(file),
        faces[1].resize((40, 40)).resize((64, 64)),
        faces[2].point(lambda v: v * 0.6 + 20),
    ]
    images = np.stack([np.asarray(x.convert("RGB")).transpose(2, 0, 1) for x in faces + changed])
    assert near_duplicates(*fingerprints(images)).tolist() == [[0, 12], [1, 13], [2, 14]]
    many = draw_faces("selfie", 500, 32)[0].transpose(0, 3, 1, 2)
    assert near_duplicates(*fingerprints(many)).tolist() == []
    # Black shows nothing
    copies = np.concatenate([many[:2], many[:2], many[:1], np.zeros((2, 3, 32, 32), np.uint8)])
    assert near_duplicates(*fingerprints(copies)).tolist() == [[0, 2], [1, 3], [0, 4]]


@pytest.mark.parametrize(
    "files, groups",
    [
        (["train/a/1.png", "valid/b/2.png"], {("train", "a"), ("val", "b")}),
        (["x/trainA/1.png", "x/test_B/1.png"], {("train", "A"), ("test", "B")}),
        (["cats/1.png", "dogs/deep/er/2.png", "readme.md"], {("", "cats"), ("", "dogs")}),
        (["top/cats/1.png", "top/dogs/2.png", "top/notes.txt"], {("", "cats"), ("", "dogs")}),
        (
            ["train/a/1.png", "train/b/1.png", "train/c/1.png"],
            {("train", "a"), ("train", "b"), ("train", "c")},
        ),
        (["1.png", "notes.txt"], set()),
        (["train/1.png", "test/1.png"], set()),
        (
            ["a/train/1.png", "a/Test/x/2.png", "b/train/1.png"],
            {("train", "a"), ("test", "a"), ("train", "b")},
        ),
        (
            ["top/a/training/1.png", "top/b/valid/1.png", "top/b/notes.txt"],
            {("train", "a"), ("val", "b")},
        ),
        (
            ["a/train/x/1.png", "b/train/x/1.png", "b/test/x/1.png"],
            {("train", "a"), ("train", "b"), ("test", "b")},
        ),
        # What they show: a train
        (["a/train/1.png", "a/bus/1.png", "b/train/1.png", "b/bus/1.png"], {("", "a"), ("", "b")}),
        (
            ["train/a/train/1.png", "test/a/train/1.png", "train/b/bus/1.png"],
            {("train", "a"), ("test", "a"), ("train", "b")},
        ),
        (
            ["x/trainA/1.png", "x/testA/1.png", "y/trainB/1.png"],
            {("train", "A"), ("test", "A"), ("train", "B")},
        ),
        (["testset/a/1.png", "testset/b/1.png"], {("", "a"), ("", "b")}),
        (["a/1.png", "b/1.heic"], {("", "a"), ("", "b")}),
        (["a/1.png", "b/1.png", "docs/1.pdf"], {("", "a"), ("", "b")}),
    ],
)
def test_layouts(files, groups):
    layout = group_files(files)
    assert set(layout.groups) == groups and layout.misplaced == []
    assert sorted(
        [*(f for part in layout.groups.values() for f in part), *layout.outside]
    ) == sorted(files)


@pytest.mark.parametrize(
    "files, wrong, why",
    [
        (["a/train/1.png", "a/test/1.png", "b/1.png"], ["a/test/1.png"], "a folder test"),
        (
            ["a/1.png", "a/test/1.png", "b/1.png", "b/test/1.png"],
            ["a/1.png", "b/1.png"],
            "in none of its splits",
        ),
        (
            ["top/a/1.png", "top/a/2019/VAL/1.png", "top/b/1.png"],
            ["top/a/2019/VAL/1.png"],
            "a folder VAL",
        ),
        (
            ["trainA/1.png", "trainA/test/1.png", "trainB/1.png"],
            ["trainA/test/1.png"],
            "a folder test",
        ),
        (
            ["train/a/1.png", "train/a/holdout/1.png", "train/b/1.png"],
            ["train/a/holdout/1.png"],
            "a folder holdout",
        ),
        (
            ["a/train/1.png", "a/train/testB/1.png", "b/train/1.png"],
            ["a/train/testB/1.png"],
            "a folder testB",
        ),
        (
            ["a/train/1.png", "a/dev/1.png", "b/train/1.png", "b/dev/1.png"],
            ["a/dev/1.png", "b/dev/1.png"],
            "a folder dev",
        ),
        (
            ["a/train/1.png", "a/test/1.png", "a/eval/1.png", "b/train/1.png"],
            ["a/eval/1.png"],
            "in none of its splits",
        ),
        (
            ["a/train/x/1.png", "a/train/y/1.png", "b/train/x/1.png", "b/train/y/1.png"],
            ["a/train/x/1.png"],
            "of the domain x or of a",
        ),
        (["a/dev/1.png", "a/holdout/1.png"], ["a/dev/1.png"], "called like a split"),
        *[
            ([f"a/{name}/1.png", "a/1.png", "b/1.png"], [f"a/{name}/1.png"], f"a folder {name}")
            for name in (
                "validation",
                "Testing",
                "tests",
                "test_images",
                "test2014",
                "evaluation",
                "held-out",
                "valset",
            )
        ],
    ],
)
def test_images_in_a_folder_called_like_a_split_never_end_in_train(files, wrong, why):
    misplaced = group_files(files).misplaced
    # No layout knows dev: all of it is read as one folder a domain
    if "dev/1.png" in files[1] and len(files) == 4:
        assert {("", "a"), ("", "b")} == set(group_files(files).groups)
    assert [f for f, _, _ in misplaced] == wrong and why in misplaced[0][2]


def by_domain(flat, top):
    """The images of `flat` as DOMAIN/SPLIT below top: every fifth in test."""
    for i, file in enumerate(sorted(flat.rglob("*.*"))):
        place = top / file.parent.name / ("Test" if i % 5 == 0 else "train") / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    return top


def test_domain_first_is_read_as_split_first_and_a_manifest_of_before_is_not_used(flat, tmp_path):
    folder = by_domain(flat, tmp_path / "first/faces")
    for file in folder.rglob("*.*"):
        place = tmp_path / "second" / file.parent.name / file.parent.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    split = splits_of(load_domains(tmp_path / "second", 32))
    (folder / MANIFEST).write_text("file,sha256,split\nanime/Test/00.png,0,train\n")
    data = load_domains(folder, 32)
    assert (
        data.fingerprint
        == load_domains(tmp_path / "second", 32).fingerprint
        == load_domains(folder.parent, 32).fingerprint
    )
    assert {
        f"{s}/{d}/{name}": where
        for (d, s, name), where in [(f.split("/"), where) for f, where in splits_of(data).items()]
    } == split
    assert all((where == "test") == ("/Test/" in f) for f, where in splits_of(data).items())
    assert (
        f"{MANIFEST} is not used, as the folders say which split a file is in; delete it"
        in data.notes
    )
    (folder / MANIFEST).unlink()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    assert load_domains(tmp_path / "set.zip", 32).fingerprint == data.fingerprint


def test_split_folder_in_a_flat_domain_is_refused_unless_the_manifest_keeps_it_out(flat):
    load_domains(flat, 32)
    table = pd.read_csv(flat / MANIFEST)
    held = [
        f for f, split in zip(table.file, table.split) if split == "test" and f.startswith("anime")
    ]
    (flat / "anime/test").mkdir()
    for f in held:
        (flat / f).rename(flat / "anime/test" / Path(f).name)
    (flat / MANIFEST).rename(flat.parent / MANIFEST)
    for strict in (True, False):
        with pytest.raises(
            InputError,
            match=(
                r"anime/test/\w+.png \(and 3 more\) lies in a folder test, but would be trained "
                r"on; lay both"
            ),
        ):
            load_domains(flat, 32, strict=strict)
    table.file = table.file.map({f: f.replace("anime/", "anime/test/") for f in held}).fillna(
        table.file
    )
    table.to_csv(flat / MANIFEST, index=False)
    assert load_domains(flat, 32).counts().values.tolist() == [[35, 4, 4], [24, 3, 3]]
    table.assign(split="train").to_csv(flat / MANIFEST, index=False)
    with pytest.raises(InputError, match="would be trained on"):
        load_domains(flat, 32)


def test_domains_beside_the_folder_of_their_test_are_refused(flat):
    for domain in ("anime", "selfie"):
        (flat / "test" / domain).mkdir(parents=True)
        (flat / domain / "00.png").rename(flat / "test" / domain / "00.png")
    with pytest.raises(
        InputError,
        match=(
            "domain anime has no train, and 71 images lie outside of the layout, the first "
            "anime/01.png"
        ),
    ):
        load_domains(flat, 32)


@pytest.fixture
def small_memory(tmp_path, monkeypatch):
    """Anything over 50 kB goes to a cache on disk; returns the cache's folder."""
    monkeypatch.setattr("ganlib.data.decode.CACHE", tmp_path / "cache")
    monkeypatch.setattr("ganlib.data.decode.CACHE_ABOVE", 50_000)
    return tmp_path / "cache"


def test_large_data_set_is_decoded_once_and_mapped(flat, small_memory, monkeypatch):
    monkeypatch.setattr("ganlib.data.decode.CACHE_ABOVE", 10**9)
    plain = load_domains(flat, 32)
    monkeypatch.setattr("ganlib.data.decode.CACHE_ABOVE", 50_000)
    (flat / MANIFEST).unlink()  # so that splitting and reordering run on disk
    (flat / "anime/bad.png").write_bytes(b"no image")
    first = load_domains(flat, 32)
    # From here on nothing can be decoded
    monkeypatch.setattr("ganlib.data.decode.decode_image", None)
    second = load_domains(flat, 32)
    for data in (first, second):
        assert data.fingerprint == plain.fingerprint and torch.equal(data.val.b, plain.val.b)
        assert data.skipped.file.tolist() == ["anime/bad.png"] and data.notes[0] == plain.notes[0]
    pd.testing.assert_frame_equal(first.files, second.files)
    assert [path.name for path in small_memory.glob(".*")] == [] and len(
        list(small_memory.iterdir())
    ) == 1
    assert sum(f.stat().st_size for f in small_memory.rglob("*.ordered")) == 3 * 32 * 32 * 73
    second.train.a[0] = 0  # a private copy: the file stays as it is
    assert load_domains(flat, 32).fingerprint == plain.fingerprint


def test_cache_of_what_the_doctor_looked_at_does_not_let_it_pass(flat, small_memory):
    for i in range(10):
        (flat / f"anime/bad{i}.png").write_bytes(b"no image")
    assert (
        len(load_domains(flat, 32, strict=False).skipped) == 10
        and len(list(small_memory.iterdir())) == 1
    )
    with pytest.raises(InputError, match="10 of 83 images cannot be read"):
        load_domains(flat, 32)


def test_cache_knows_when_a_file_or_the_size_changed(flat, small_memory):
    before = load_domains(flat, 32)
    assert load_domains(flat, 40).train.a.shape[2:] == (40, 40)
    (flat / MANIFEST).unlink()
    Image.new("RGB", (48, 48), "red").save(flat / "selfie/00.png")
    assert load_domains(flat, 32).fingerprint != before.fingerprint
    split = flat.with_name("split")
    for domain in ("anime", "selfie"):
        (split / "train").mkdir(parents=True, exist_ok=True)
        (flat / domain).rename(split / "train" / domain)
    before = load_domains(split, 32)
    # No manifest tells of it here
    Image.new("RGB", (48, 48), "blue").save(split / "train/selfie/00.png")
    assert load_domains(split, 32).fingerprint != before.fingerprint


def test_cache_at_the_limit_and_of_what_the_doctor_looked_at(flat, small_memory, monkeypatch):
    (flat / "anime/bad.png").write_bytes(b"no image")
    # 73 can be read, 74 are there
    monkeypatch.setattr("ganlib.data.decode.CACHE_ABOVE", 73 * 3 * 32 * 32)
    data = load_domains(flat, 32)
    (flat / MANIFEST).unlink()
    assert load_domains(flat, 32, strict=False).fingerprint == data.fingerprint
    monkeypatch.setattr("ganlib.data.decode.decode_image", None)
    # Training does not decode again
    assert load_domains(flat, 32).fingerprint == data.fingerprint and (flat / MANIFEST).exists()
    assert load_domains(flat, 32).fingerprint == data.fingerprint


def spoil_json(folder):
    (folder / "cache.json").write_text("{")


def cut_an_array(folder):
    os.truncate(folder / "0.ordered", 1000)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_json,
        cut_an_array,
        lambda folder: (folder / "1.ordered").unlink(),
        lambda folder: (folder / "cache.json").unlink(),
    ],
)
def test_damaged_cache_is_made_anew(flat, small_memory, spoil, monkeypatch):
    before = load_domains(flat, 32)
    spoil(next(small_memory.iterdir()))
    assert load_domains(flat, 32).fingerprint == before.fingerprint
    assert [len(list(folder.iterdir())) for folder in small_memory.iterdir()] == [3]
    monkeypatch.setattr("ganlib.data.decode.decode_image", None)  # it is whole again
    assert load_domains(flat, 32).fingerprint == before.fingerprint


def test_cache_of_another_version_is_not_read(flat, small_memory, monkeypatch):
    load_domains(flat, 32)
    monkeypatch.setattr("ganlib.data.decode.CACHE_VERSION", data_decode.CACHE_VERSION + 1)
    load_domains(flat, 32)
    assert len(list(small_memory.iterdir())) == 2


def test_interrupted_or_failed_reading_leaves_no_cache(flat, small_memory, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ganlib.data.reading.settle", stop)
    with pytest.raises(KeyboardInterrupt):
        load_domains(flat, 32)
    assert list(small_memory.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr("ganlib.data.decode.CACHE", small_memory)
    monkeypatch.setattr("ganlib.data.decode.CACHE_ABOVE", 50_000)
    (small_memory / ".dead.999999999.part").mkdir()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"GB of decoded images\): no space left"):
        load_domains(flat, 32)
    assert list(small_memory.iterdir()) == []


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in the form of a data set of the hub: splits, and in each a folder for each
    label."""
    datasets = pytest.importorskip(
        "datasets", reason="the optional package datasets is not installed"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub_cache")
    for split, n in (("train", 12), ("test", 3)):
        for domain in ("selfie", "anime"):
            (tmp_path / "faces" / split / domain).mkdir(parents=True)
            for i, face in enumerate(draw_faces(domain, n, 32, split=split)[0]):
                Image.fromarray(face).save(tmp_path / "faces" / split / domain / f"{i:02}.png")
    return tmp_path / "faces"


def test_data_set_of_the_hub_is_read_like_its_folder(hub):
    data, folder = load_domains(f"hf:{hub}", 32), load_domains(hub, 32)
    assert data.domains == ("anime", "selfie") and data.counts().values.tolist() == [[11, 1, 3]] * 2
    assert data.fingerprint == folder.fingerprint and data.files.file[0].startswith("train/anime/")
    assert data.name == "faces" and "anime has no val: 1 images of train are held out" in data.notes


def test_data_set_of_the_hub_with_two_image_columns(tmp_path, hub):
    import datasets

    rows = {
        f"image{k}": [str(f) for f in sorted((hub / f"train/{d}").iterdir())]
        for k, d in (("A", "anime"), ("B", "selfie"))
    }
    table = (
        datasets.Dataset.from_dict(rows)
        .cast_column("imageA", datasets.Image())
        .cast_column("imageB", datasets.Image())
    )
    table.to_parquet(tmp_path / "two/data/train-00000-of-00001.parquet")
    data = load_domains(f"hf:{tmp_path / 'two'}", 32)
    assert (
        data.domains == ("imageA", "imageB") and data.counts().values.tolist() == [[10, 1, 1]] * 2
    )
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "none/train.parquet")
    with pytest.raises(
        InputError,
        match=(
            r"0 image columns and 0 label columns in train \(text \(string\)\); expected two of "
            r"images"
        ),
    ):
        load_domains(f"hf:{tmp_path / 'none'}", 32)


def test_rows_of_the_hub_without_a_label_and_labels_with_a_slash(tmp_path, hub):
    import datasets

    files = sorted((hub / "train").rglob("*.png"))
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["drawn/anime", ".photo"])}
    )
    rows = {
        "image": [str(f) for f in files],
        "label": [-1, None, *[int(f.parent.name == "selfie") for f in files[2:]]],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(
        tmp_path / "some/data/full-00000-of-00001.parquet"
    )
    # Its only split is called neither train nor anything else
    data = load_domains(f"hf:{tmp_path / 'some'}", 32)
    assert data.domains == ("drawn-anime", "photo") and data.counts().to_numpy().sum() == 22
    assert set(data.skipped.reason) == {"no label"} and len(data.skipped) == 2


@pytest.mark.parametrize(
    "values, names",
    [
        (["anime", "selfie"], ("anime", "selfie")),
        (["1", "0"], ("0", "1")),
        (["True", "False"], ("False", "True")),
        (["2", "1"], ("1", "2")),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_labels_of_the_hub_may_be_texts_numbers_or_truth_values(hub, values, names, form):
    kinds = dict(zip(("anime", "selfie"), values))
    for split in ("train", "test"):
        rows = [
            {
                "file_name": f"{f.parent.name}/{f.name}",
                "style": kinds[f.parent.name],
                "who": f"face {i} of {f.parent.name}",
            }
            for i, f in enumerate(sorted((hub / split).rglob("*.png")))
        ]
        if form == "csv":
            pd.DataFrame(rows).to_csv(hub / split / "metadata.csv", index=False)
        else:
            plain = [
                row
                | {
                    "style": row["style"]
                    if row["style"].isalpha() and row["style"] not in ("True", "False")
                    else json.loads(row["style"].lower())
                }
                for row in rows
            ]
            (hub / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, plain)))
    data = load_domains(f"hf:{hub}", 32)
    assert data.domains == names and data.counts().values.tolist() == [[11, 1, 3]] * 2
    assert data.files.file[0].startswith(f"train/{names[0]}/")


@pytest.mark.parametrize(
    "column, message",
    [
        (
            {"style": ["a", "b", "c"]},
            r"1 image columns and 0 label columns in train \(image \(.*\), style \(string\)\); "
            r"expected two of images, or one of",
        ),
        (
            {"style": ["a", "b", "a"], "kind": [1, 1, 2]},
            r"1 image columns and 2 label columns .*these could all be the label: style, kind",
        ),
        ({"style": ["a", "", None]}, "1 image columns and 0 label columns"),
    ],
)
def test_labels_of_the_hub_that_are_ambiguous_or_none_are_told(tmp_path, hub, column, message):
    import datasets

    files = [str(f) for f in sorted((hub / "train/anime").iterdir())[:3]]
    table = datasets.Dataset.from_dict({"image": files} | column).cast_column(
        "image", datasets.Image()
    )
    table.to_parquet(tmp_path / "odd/data/train-00000-of-00001.parquet")
    with pytest.raises(InputError, match=message) as caught:
        load_domains(f"hf:{tmp_path / 'odd'}", 32)
    assert "\n" not in str(caught.value)


def test_files_that_the_hub_passes_over_are_told(hub):
    for i in range(3):
        (hub / f"train/selfie/{i}.jxl").write_bytes(b"\xff\x0a")
    assert any(
        note.startswith("3 JPEG XL files not read: convert")
        for note in load_domains(f"hf:{hub}", 32).notes
    )
    for i in range(10):
        (hub / f"train/selfie/{i}.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="13 of 43 images cannot be read"):
        load_domains(f"hf:{hub}", 32)


def test_hub_that_cannot_be_reached_is_told_in_one_line(monkeypatch):
    datasets = pytest.importorskip(
        "datasets", reason="the optional package datasets is not installed"
    )
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError,
        match=(
            "data hf:nobody/nothing: cannot be had .* check the name and the network, or download "
            "it"
        ),
    ) as caught:
        load_domains("hf:nobody/nothing", 32)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match="needs the package datasets; install it"):
        load_domains("hf:nobody/nothing", 32)


def test_truth_is_for_scoring_only(faces, flat):
    truth = load_truth(faces, "test")
    assert truth.a.shape == truth.b.shape == (5, 3, 32, 32) and truth.a.dtype == torch.uint8
    expected = draw_counterparts("anime", 5, 32, 0, "test").transpose(0, 3, 1, 2)
    assert np.array_equal(truth.b, expected)  # the selfies of the anime faces
    assert np.array_equal(
        truth.a, draw_counterparts("selfie", 5, 32, 0, "test").transpose(0, 3, 1, 2)
    )
    with pytest.raises(InputError, match="split"):
        load_truth(faces, "train")
    with pytest.raises(InputError, match="counterparts of its images are known to nobody"):
        load_truth(load_domains(flat, 32))
    reachable = [x for x in faces if isinstance(x, (torch.Tensor, tuple))]
    assert not any(
        torch.equal(side, part)
        for split in reachable
        if isinstance(split, tuple)
        for side in split
        if isinstance(side, torch.Tensor) and side.shape == truth.a.shape
        for part in truth
    )
    training = (
        "train.py",
        "loop.py",
        "step.py",
        "fast_step.py",
        "losses.py",
        "pool.py",
        "config.py",
    )
    assert not any(
        word in (PACKAGE / f).read_text()
        for f in training
        for word in ("load_truth", "counterparts")
    )


def test_cache_is_json_beside_plain_arrays(flat, small_memory):
    load_domains(flat, 32)
    kept = json.loads(next(small_memory.glob("*/cache.json")).read_text())
    assert kept["arrays"] == {
        "anime": ["0.ordered", [43, 3, 32, 32]],
        "selfie": ["1.ordered", [30, 3, 32, 32]],
    }
