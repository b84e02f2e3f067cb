"""Files of more than 8 bits a pixel: one range for a domain, however found; TIFF of every kind."""

import hashlib
import io
import itertools
import json
import random

import numpy as np
import pytest
import yaml
from PIL import Image
from tiffs import write_tiff

from ganlib import InputError
from ganlib.data import decode as data_decode
from ganlib.data.decode import decode_image, examine_file
from ganlib.data.domains import load_domains
from ganlib.data.ranges import find_range
from ganlib.data.sources import MANIFEST
from ganlib.doctor import __main__ as doctor_command
from ganlib.doctor.checks import check_ranges
from ganlib.doctor.examine import Diagnosis
from ganlib.doctor.looks import look_at
from ganlib.faces import draw_faces

FACES = [face[..., 1] / 255 for face in draw_faces("selfie", 12, 24)[0]]  # grey, 0 to 1
GREY = np.stack([np.round(255 * face) for face in FACES])


def png16(values):
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def bmp(face):
    file = io.BytesIO()
    Image.fromarray(np.round(255 * face).astype(np.uint8)).save(file, "BMP")
    return file.getvalue()


def whole(top, kind="u2", bottom=0):
    return lambda face: write_tiff((bottom + np.round(face * (top - bottom))).astype(kind))


def real(top, kind="f4", bottom=0):
    return lambda face: write_tiff((bottom + face * (top - bottom)).astype(kind))


def make(folder, encode, other=bmp, split=""):
    """A data set of two domains with twelve faces each, a face a file: A by `encode`, B by `other`,
    which take values of 0 to 1."""
    for domain, by in (("a", encode), ("b", other)):
        (folder / split / domain).mkdir(parents=True)
        for i, face in enumerate(FACES):
            (folder / split / domain / f"{i:02}.tif").write_bytes(by(face))
    return folder


def pixels(data, side="a"):
    """All images of a domain as (N, H, W), in the order of FACES."""
    files = data.files[(data.files.reason == "") & (data.files.domain == side)].reset_index(
        drop=True
    )
    images = np.concatenate(
        [getattr(getattr(data, s), side).numpy()[:, 0] for s in ("train", "val", "test")]
    )
    return images[np.argsort(files.file)]


@pytest.mark.parametrize(
    "spans, ends",
    [
        ([(0, 200)], (0, 255)),
        ([(0, 255)], (0, 255)),
        ([(0, 256)], (0, 256)),
        ([(0, 300), (0, 900)], (0, 1023)),
        ([(5, 4095)], (0, 4095)),
        ([(0, 4096)], (0, 4096)),
        ([(0, 9000)], (0, 16383)),
        ([(0, 30000)], (0, 65535)),
        ([(0, 65535)], (0, 65535)),
        ([(0, 1)], (0, 1)),
        ([(0, 0.4)], (0, 1)),
        ([(0, 0.1)], (0, 0.1)),
        ([(0, 1.02)], (0, 1.02)),
        ([(-0.02, 1)], (-0.02, 1)),
        ([(-0.9, 0.8)], (-1, 1)),
        ([(-1024, 3071)], (-1024, 3071)),
        ([(-1000, 1500)], (-1024, 3071)),
        ([(-2000, 3000)], (-2000, 3000)),
        ([(29000, 31000)], (29000, 31000)),
        ([(-30000, 30000)], (-32768, 32767)),
        ([(0, 40)], (0, 40)),
        ([(0, 10**6)], (0, 10**6)),
        ([(7, 7)], (0, 7)),
        ([(0, 0)], (0, 1)),
        ([(0, 4000)] * 8 + [(0, 65535)], (0, 65535)),
        ([(0, 4000)] * 9 + [(0, 65535)], (0, 4095)),
        ([(0, 4000)] * 9 + [(-1e30, 4000)], (0, 4095)),
        ([(0, 900)] * 9 + [(0, 4000)], (0, 4095)),
        ([(0, 4000)] * 298 + [(0, 65535)] * 3, (0, 4095)),
        ([(0, 4000)] * 198 + [(0, 65535)] * 3, (0, 65535)),
    ],
)
def test_range_is_the_first_convention_that_holds_and_fills_without_what_is_far_off(spans, ends):
    assert find_range(spans) == ends
    for seed in range(3):
        random.Random(seed).shuffle(spans)
        assert find_range(spans) == ends


@pytest.mark.parametrize(
    "encode, ends",
    [
        (real(1), (0, 1)),
        (real(1, "f8"), (0, 1)),
        (real(1, bottom=-1), (-1, 1)),
        (whole(255, "i4"), (0, 255)),
        (whole(256, "i4"), (0, 256)),
        (lambda face: png16(np.round(face * 4095)), (0, 4095)),
        (whole(3071, "i2", -1024), (-1024, 3071)),
        (whole(65535), (0, 65535)),
        (whole(127, "i1", -128), (-128, 127)),
        (whole(4_000_000_000, "u4"), None),
        (real(1.02), None),
        (real(31000, bottom=29000), None),
    ],
)
def test_a_domain_becomes_what_its_8_bit_copy_is(tmp_path, encode, ends):
    data = load_domains(make(tmp_path, encode), 24)
    low, high = data.value_ranges["a"]
    assert ends is None or (low, high) == ends or ends == (-128, 127) and -128 <= low < high <= 127
    spread = (
        255 / (GREY.max() - GREY.min()) if ends in (None, (-128, 127)) else 1
    )  # plain: from the smallest to the largest value
    expected = (GREY - (GREY.min() if spread > 1 else 0)) * spread
    assert np.abs(pixels(data) - expected).max() <= 1.5
    assert np.array_equal(pixels(data, "b"), GREY) and data.value_ranges.keys() == {"a"}
    assert any(
        note.startswith("a: values ") and "12 files of more than 8 bits" in note
        for note in data.notes
    )


def test_one_odd_pixel_or_file_darkens_no_other(tmp_path):
    odd = iter(range(12))

    def spoil(face):
        values, i = (face * 4095).astype("f4"), next(odd)
        if i == 0:
            values[3, 3:6] = np.inf, -np.inf, np.nan
        if i == 1:
            values[5, 5] = 1e30
        return write_tiff(values if i != 2 else values * 1000)

    data = load_domains(make(tmp_path, spoil), 24)
    assert data.value_ranges == {"a": (0, 4095)}
    same = pixels(data)
    assert same[0, 3, 3:6].tolist() == [255, 0, 0] and same[1, 5, 5] == 255
    same[0, 3, 3:6], same[1, 5, 5] = GREY[0, 3, 3:6], GREY[1, 5, 5]
    assert np.abs(np.delete(same, 2, 0) - np.delete(GREY, 2, 0)).max() <= 1
    remarks = dict(zip(data.files.file, data.files.remark))
    assert remarks["a/00.tif"].startswith("nan or infinite values") and remarks["a/03.tif"] == ""
    assert remarks["a/01.tif"] == remarks["a/02.tif"] == "values outside the value range, clipped"


@pytest.mark.parametrize("most", [1000, 1023, 4095, 65535])
def test_pgm_is_read_by_the_most_that_it_says(most):
    values = np.round(RAMP * most)
    content = f"P5 24 20 {most}\n".encode() + values.astype(">u2").tobytes()
    out = decode_image(content, (20, 24))[0][0]
    assert np.abs(out - values / most * 255).max() <= 1


def test_file_without_a_finite_value_is_not_read():
    for value in (np.nan, np.inf):
        images, facts = examine_file(
            "x", lambda _: write_tiff(np.full((9, 9), value, "f4")), (9, 9)
        )
        assert images is None and facts["reason"] == "no value in it is a finite number"


def test_range_is_given_for_both_domains_or_by_domain_and_told(tmp_path):
    make(tmp_path, whole(4095), real(1))
    found = load_domains(tmp_path, 24, strict=False)
    assert found.value_ranges == {"a": (0, 4095), "b": (0, 1)}
    data = load_domains(tmp_path, 24, strict=False, value_range={"a": [0, 8190]})
    assert (
        data.value_ranges == {"a": (0, 8190), "b": (0, 1)}
        and np.abs(pixels(data) - GREY / 2).max() <= 1
    )
    assert (
        np.array_equal(pixels(data, "b"), pixels(found, "b"))
        and data.fingerprint != found.fingerprint
    )
    assert any(
        "0 to 8190 are black to white in its 12 files" in note
        and note.endswith("as value_range says")
        for note in data.notes
    )
    again = load_domains(
        **yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(data.loaded))))
    )  # in another process
    assert again.fingerprint == data.fingerprint
    both = load_domains(tmp_path, 24, strict=False, value_range=(-1, 1))
    assert both.value_ranges == {"a": (-1, 1), "b": (-1, 1)} and pixels(both, "b").min() > 120
    assert (
        load_domains(tmp_path, 24, strict=False, value_range="auto").fingerprint
        == found.fingerprint
    )
    eight = load_domains(make(tmp_path / "8", bmp), 24, value_range=[0, 4095])
    assert (
        "a: no file of more than 8 bits a pixel, so value_range changes nothing" in eight.notes
        and not eight.value_ranges
    )


@pytest.mark.parametrize(
    "value",
    [
        0,
        5,
        True,
        None,
        "0 255",
        [],
        [1],
        [1, 1],
        [2, 1],
        [0, "1"],
        [0, True],
        [0, float("nan")],
        [0, 1e300],
        [0, float("inf")],
        [0, 10**400],
        {},
        {"a": 5},
        {"a": [1, 0]},
        {1: [0, 1]},
        [[0, 1], [0, 1]],
    ],
)
def test_range_that_is_none_is_refused_in_one_line(value):
    with pytest.raises(
        InputError,
        match=r"^value_range .*: expected \"\" \(found from the files\), two numbers \[LOW, HIGH\]",
    ) as caught:
        load_domains("nowhere", value_range=value)
    assert "\n" not in str(caught.value)


def test_range_of_another_domain_or_of_the_builtin_faces_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="value_range 'c': no such domain in .*; there are a and b"
    ):
        load_domains(make(tmp_path, whole(9)), 24, value_range={"c": [0, 1]})
    with pytest.raises(
        InputError, match="value_range .*: the builtin faces have 8 bits; leave value_range empty"
    ):
        load_domains("builtin", value_range=[0, 1])


def test_manifest_keeps_the_range(tmp_path):
    first = load_domains(make(tmp_path, whole(4095)), 24)
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert lines[0] == "file,sha256,split,low,high"
    assert all(line.endswith(",0,4095" if line.startswith("a/") else ",,") for line in lines[1:])
    (tmp_path / "a/new.tif").write_bytes(whole(65535)(FACES[0]))
    again = load_domains(tmp_path, 24)
    assert again.value_ranges == first.value_ranges and again.fingerprint == first.fingerprint
    assert any(note.endswith("as the manifest says") for note in again.notes)
    assert load_domains(tmp_path, 24, strict=False).fingerprint == first.fingerprint
    given = load_domains(tmp_path, 24, value_range=[0, 1000])
    note = next(note for note in given.notes if note.startswith("a: values 0 to 1000 are"))
    assert given.value_ranges == {"a": (0, 1000)} and note.endswith(
        "as value_range says (the manifest: 0 to 4095)"
    )
    (tmp_path / MANIFEST).write_text("\n".join(lines).replace(",0,4095", ",-0.5,8190"))
    assert load_domains(tmp_path, 24).value_ranges == {"a": (-0.5, 8190)}  # put right by hand
    (tmp_path / MANIFEST).write_text(
        "\n".join(line.rsplit(",", 2)[0] for line in lines)
    )  # of before there were ranges
    assert load_domains(tmp_path, 24).fingerprint == first.fingerprint
    for low, high in (("4095", "0"), ("x", "1"), ("0", ""), ("nan", "1")):
        (tmp_path / MANIFEST).write_text("\n".join(lines).replace(",0,4095", f",{low},{high}"))
        with pytest.raises(InputError, match=f"manifest .*{MANIFEST}: .*delete it to split anew"):
            load_domains(tmp_path, 24)
    (tmp_path / MANIFEST).write_text("\n".join(lines).replace(",0,4095", ",0,1023", 1))
    with pytest.raises(
        InputError,
        match=r"low and high of domain a are \(0, 1023\) and \(0, 4095\); expected the same",
    ):
        load_domains(tmp_path, 24)


def test_range_of_all_splits_is_one_and_comes_again_from_the_same_files(tmp_path):
    make(tmp_path, whole(3000), split="train")
    make(tmp_path, whole(500), split="test")
    data = load_domains(tmp_path, 24)
    assert data.value_ranges == {"a": (0, 4095)} and not (tmp_path / MANIFEST).exists()
    assert data.test.a.max() <= 32 and load_domains(tmp_path, 24).fingerprint == data.fingerprint
    for file in (tmp_path / "train/a").iterdir():  # another order
        file.rename(file.with_name(f"x{random.Random(file.name).random()}.tif"))
    assert load_domains(tmp_path, 24).value_ranges == data.value_ranges


def test_8_bit_files_and_all_of_16_bits_are_what_they_were(tmp_path):
    data = load_domains(make(tmp_path / "8", bmp), 24)
    assert data.fingerprint == "b7b1930dbeccd323a7ad1c3ef1b34b81fc53387a41d86a1c8f3b60f3836effd0"
    assert (
        hashlib.sha256((tmp_path / "8" / MANIFEST).read_bytes()).hexdigest()
        == "f7d8204350b4abd9c3c0e451c425fa9423f01587d66c32c3d012cf6213729560"
    )
    found = {}
    for name, encode in {
        "8": bmp,
        "png": lambda face: png16(257 * np.round(255 * face)),
        "12": lambda face: png16(np.round(4095 * np.round(255 * face) / 255)),
        "tiff": whole(65535),
    }.items():
        for split in ("train", "val", "test"):
            make(tmp_path / "split" / name, encode, split=split)
        found[name] = load_domains(tmp_path / "split" / name, 24)
    assert [data.value_ranges.get("a") for data in found.values()] == [
        None,
        (0, 65535),
        (0, 4095),
        (0, 65535),
    ]
    assert all(
        np.array_equal(found["8"].train.a, found[name].train.a) for name in ("png", "12", "tiff")
    )
    assert (
        found["8"].fingerprint
        == found["png"].fingerprint
        == found["tiff"].fingerprint
        != found["12"].fingerprint
    )


@pytest.fixture
def small_memory(tmp_path, monkeypatch):
    """Everything goes to a cache on disk; returns the cache's folder."""
    monkeypatch.setattr("ganlib.data.decode.CACHE", tmp_path / "cache")
    monkeypatch.setattr("ganlib.data.decode.CACHE_ABOVE", 1000)
    return tmp_path / "cache"


def test_cache_knows_the_range(tmp_path, small_memory, monkeypatch):
    first = load_domains(make(tmp_path / "set", whole(4095)), 24)
    given = load_domains(tmp_path / "set", 24, value_range=[0, 1000])
    assert first.fingerprint != given.fingerprint and len(list(small_memory.iterdir())) == 2
    again = load_domains(
        tmp_path / "set", 24
    )  # the manifest's range: a key of its own, as it may be changed by hand
    kept = {
        folder: json.loads((folder / "cache.json").read_text()) for folder in small_memory.iterdir()
    }
    assert again.fingerprint == first.fingerprint and len(kept) == 2
    assert sorted(part["ranges"]["a"] for part in kept.values()) == [[0, 1000], [0, 4095]]
    # From here on nothing can be decoded
    monkeypatch.setattr("ganlib.data.decode.decode_image", None)
    again = load_domains(tmp_path / "set", 24)
    assert again.fingerprint == first.fingerprint and again.value_ranges == first.value_ranges == {
        "a": (0, 4095)
    }


def test_cache_from_before_there_were_ranges_serves_8_bit_files_alone(
    tmp_path, small_memory, monkeypatch
):
    for name, encode in (("8", bmp), ("12", whole(4095))):
        make(tmp_path / name, encode)
        before = load_domains(tmp_path / name, 24)
        folder = next(path for path in small_memory.iterdir() if path.name.startswith(f"{name}-"))
        kept = json.loads((folder / "cache.json").read_text())
        (folder / "cache.json").write_text(
            json.dumps({key: kept[key] for key in kept if key != "ranges"})
        )
        decoded, real_decode = [], data_decode.decode_image
        monkeypatch.setattr(
            "ganlib.data.decode.decode_image", lambda *a: decoded.append(a) or real_decode(*a)
        )
        assert load_domains(tmp_path / name, 24).fingerprint == before.fingerprint
        assert bool(decoded) == (name == "12")
        monkeypatch.setattr("ganlib.data.decode.decode_image", real_decode)


def findings(images):
    return {f.text.split(":")[0]: f for f in check_ranges(look_at(images)[0], images)}


def test_doctor_names_the_range_and_what_makes_it_doubtful(tmp_path, capsys):
    mixed = iter([whole(4095)] * 8 + [bmp] * 2 + [real(4095)] * 2)
    make(tmp_path, whole(4095), lambda face: next(mixed)(face))
    assert doctor_command.main([str(tmp_path), "--no-cost", "--image-size", "24", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    a, b = [f for f in told["findings"] if f["check"] == "value_range"][::-1]  # warnings come first
    assert a["level"] == "note" and a["text"].startswith(
        "a: values 0 to 4095 are black to white in 12 files"
    )
    assert b["level"] == "warning" and "10 files of more than 8 bits; files of 8 bits" in b["text"]
    assert (
        "whole and floating point numbers are mixed" in b["text"] and "set value_range" in b["fix"]
    )
    found = findings(
        load_domains(tmp_path, 24, strict=False, value_range={"a": [0, 400_000], "b": [0, 100]})
    )
    assert (
        "most come out very dark, very bright or flat" in found["a"].text
        and found["a"].level == "warning"
    )
    assert (
        "values outside the value range, clipped" in found["b"].text and len(found["b"].files) == 12
    )


def test_doctor_takes_a_range(tmp_path, capsys, monkeypatch):
    make(tmp_path, whole(4095))
    seen = []
    monkeypatch.setattr(
        "ganlib.doctor.examine.examine",
        lambda images: (
            seen.append(images.value_ranges)
            or Diagnosis(None, [], {"told_apart": 0, "a_to_b": 0, "a_to_a": 0, "b_to_b": 0})
        ),
    )
    assert doctor_command.main(
        [str(tmp_path), "--no-cost", "--value-range", "-1", "8190"]
    ) == 0 and seen == [{"a": (-1, 8190)}]
    assert (
        "a: values -1 to 8190 are black to white in its 12 files of more than 8 bits"
        in capsys.readouterr().out
    )
    assert doctor_command.main([str(tmp_path), "--no-cost", "--value-range", "5", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: value_range [5.0, 1.0]: expected")


def test_doctor_finds_16_bit_colour_that_comes_out_dark(tmp_path):
    make(
        tmp_path,
        lambda face: write_tiff(np.stack([face * 4095] * 3, -1).astype("u2"), photometric=2),
    )
    found = findings(load_domains(tmp_path, 24, strict=False))
    assert found["a"].level == "warning" and found["a"].text.endswith(
        "that come out very dark, very bright or flat: 12"
    )
    assert found["a"].fix == "save them anew in 8 bits, or scaled to use all 16"


RAMP = np.linspace(0, 1, 20 * 24).reshape(20, 24)
ENDS = {
    "u1": (0, 255),
    "i1": (-128, 127),
    "u2": (0, 65535),
    "i2": (-32768, 32767),
    "u4": (0, 2**32 - 1),
    "i4": (-(2**31), 2**31 - 1),
    "f4": (0, 1),
    "f8": (-1, 1),
}


@pytest.mark.parametrize("kind", ENDS)
def test_every_grey_tiff_is_read_by_its_numbers_and_white_is_zero_turned_over(kind):
    low, high = ENDS[kind]
    values = low + RAMP * (high - low) * (1 - 1e-6)
    values = (values if kind[0] == "f" else np.floor(values)).astype(kind)
    ramp = np.round((values.astype(float) - low) / (high - low) * 255)
    for white, order, deflate, (rows, tile) in itertools.product(
        (1, 0), "<>", (False, True), ((None, 0), (7, 0), (None, 16))
    ):
        content = write_tiff(values, white, order, deflate, rows=rows, tile=tile)
        out, facts = decode_image(content, (20, 24), ENDS[kind])
        assert np.array_equal(out[0], ramp if white else 255 - ramp), (
            kind,
            white,
            order,
            deflate,
            rows,
            tile,
        )
        assert facts["remark"] == ""


@pytest.mark.parametrize("packed", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
def test_white_is_zero_of_16_bits_is_the_8_bit_one_however_it_is_packed(packed):
    shown = []
    for values in (
        np.round(RAMP * 255).astype(np.uint8),
        257 * np.round(RAMP * 255).astype(np.uint16),
    ):
        file = io.BytesIO()
        Image.fromarray(values).save(file, "TIFF", compression=packed, tiffinfo={262: 0})
        assert Image.open(io.BytesIO(file.getvalue())).tag_v2[262] == 0
        content = (
            file.getvalue() if values.itemsize == 2 else write_tiff(values, 0)
        )  # Pillow turns over what it writes of 8
        shown.append(decode_image(content, (20, 24))[0][0])
    assert shown[1][0, 0] == 255 and shown[1][-1, -1] == 0 and np.array_equal(*shown)


def test_white_is_zero_of_few_bits_and_without_the_tag():
    file = io.BytesIO()
    Image.fromarray(RAMP > 0.5).save(file, "TIFF", tiffinfo={262: 0})
    assert (
        Image.open(io.BytesIO(file.getvalue())).tag_v2[262] == 0
    )  # Pillow turns over the bits that it writes, too
    assert np.array_equal(decode_image(file.getvalue(), (20, 24))[0][0] > 0, RAMP > 0.5)
    content = write_tiff((RAMP * 65535).astype("u2"), 0)
    untold = content.replace(b"\x06\x01\x03\x00", b"\x07\x01\x03\x00")  # another tag in its place
    assert (
        decode_image(content, (20, 24))[0][0, 0, 0] == 255
        and decode_image(untold, (20, 24))[0][0, 0, 0] == 0
    )


@pytest.mark.parametrize(
    "kind, channels, options, told",
    [
        ("u2", 2, {}, "2 channels of 16 bits (grey)"),
        ("u2", 5, {}, "5 channels of 16 bits (grey)"),
        ("u1", 5, {}, "5 channels of 8 bits (grey)"),
        ("f4", 3, {"photometric": 2}, "3 channels of 32 bits, floating point (RGB)"),
        ("f2", 1, {}, "1 channel of 16 bits, floating point (grey)"),
        ("c8", 1, {}, "1 channel of 64 bits, complex (grey)"),
        ("u8", 1, {}, "1 channel of 64 bits (grey)"),
        ("u2", 3, {"photometric": 2, "planes": True}, "3 channels of 16 bits (RGB, in planes)"),
        ("u2", 2, {"planes": True, "extra": (0,)}, "2 channels of 16 bits (grey, in planes)"),
        ("u2", 3, {"photometric": 8}, "3 channels of 16 bits (LAB)"),
        ("u2", 3, {"photometric": 6}, "3 channels of 16 bits (YCbCr)"),
        ("u1", 1, {"photometric": 32803}, "1 channel of 8 bits (raw of a camera)"),
    ],
)
def test_tiff_of_a_kind_that_cannot_be_read_is_called_by_it(kind, channels, options, told):
    values = (np.arange(20 * 24 * channels) % 100).reshape(20, 24, channels).astype(kind)
    for order, deflate in itertools.product("<>", (False, True)):
        content = write_tiff(values, order=order, deflate=deflate, **options)
        pixels, facts = examine_file("x", lambda _: content, (8, 8))
        assert pixels is None and facts["reason"] == (
            f"a TIFF of {told}, which cannot be read; save it anew as grey (1 channel of 8 to 32 "
            "bits) or 8-bit RGB"
        )


def test_channels_and_bits_that_are_left_out_are_remarked():
    values = np.random.default_rng(0).integers(0, 256, (20, 24, 5), np.uint8)
    out, facts = decode_image(write_tiff(values, 2, extra=(0, 0)), (20, 24))
    assert facts["remark"] == "first 3 of 5 channels" and np.array_equal(
        out, values[:, :, :3].transpose(2, 0, 1)
    )
    out, facts = decode_image(write_tiff(257 * values[:, :, :3].astype("u2"), 2), (20, 24))
    assert facts["remark"] == "16 bits a channel, read by the upper 8" and np.array_equal(
        out, values[:, :, :3].transpose(2, 0, 1)
    )
    for planes in (False, True):
        assert (
            decode_image(write_tiff(values[:, :, :3], 2, planes=planes), (20, 24))[1]["remark"]
            == ""
        )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_big_tiff_is_called_by_its_kind_and_a_broken_one_is_not():
    head = b"II+\0" + (8).to_bytes(2, "little") + bytes(2) + (16).to_bytes(8, "little")
    tags = [
        (256, 4, 4),
        (257, 4, 4),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (277, 3, 7),
        (273, 4, 400),
        (279, 4, 224),
    ]
    entries = b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + (1).to_bytes(8, "little")
        + value.to_bytes(8, "little")
        for tag, kind, value in tags
    )
    content = head + len(tags).to_bytes(8, "little") + entries + bytes(400)
    assert examine_file("x", lambda _: content, (8, 8))[1]["reason"].startswith(
        "a TIFF of 7 channels of 16 bits (grey)"
    )
    sound = write_tiff(np.zeros((9, 9), "u2"))
    for cut in (4, 8, 100):
        reason = examine_file("x", lambda _: sound[:cut], (8, 8))[1]["reason"]
        assert reason and "a TIFF of" not in reason


def test_big_endian_numbers_in_a_packed_tiff_keep_their_bytes():
    """Pillow takes those of libtiff, in this machine's order, for those of the file's."""
    for kind in ("i2", "i4", "f4"):
        values = (RAMP * 1000).astype(kind)
        plain, packed = [
            decode_image(write_tiff(values, order=">", deflate=d), (20, 24), (0, 1000))[0]
            for d in (False, True)
        ]
        assert np.array_equal(plain, packed) and len(np.unique(plain)) > 200
