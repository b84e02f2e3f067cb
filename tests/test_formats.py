"""Files that are no image for this project, though somebody meant them as one: named, counted,
and stopped at."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from ganlib import InputError
from ganlib.data import formats as data_formats
from ganlib.data.decode import FORMATS, examine_file
from ganlib.data.domains import load_domains
from ganlib.doctor import __main__ as doctor_command
from ganlib.doctor.checks import check_files

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(300)
ISO = b"\0\0\0\x18ftyp%s\0\0\0\0"
CONTENT = {  # a name, how such a file begins, what it is called
    "a.HEIC": (HEIC, "HEIC"),
    "b.heif": (ISO % b"mif1", "HEIC"),
    "c.hif": (b"", "HEIC"),
    "iphone.jpg": (HEIC, "HEIC"),
    "none": (HEIC, "HEIC"),
    "a.jxl": (b"\xff\x0a\0", "JPEG XL"),
    "b.png": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    "a.npy": (b"\x93NUMPY", "NumPy"),
    "a.npz": (b"PK\3\4", "NumPy"),
    "a.dcm": (bytes(128) + b"DICM", "DICOM"),
    "x": (bytes(128) + b"DICM", "DICOM"),
    "a.nii": (b"x", "NIfTI"),
    "a.NII.gz": (b"\x1f\x8b", "NIfTI"),
    "a.mha": (b"ObjectType = Image", "MetaImage"),
    "a.mhd": (b"x", "MetaImage"),
    "a.nrrd": (b"NRRD0004", "NRRD"),
    "a.svg": (b"<svg/>", "SVG"),
    "b.jpg": (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
    "a.psd": (b"8BPS", "Photoshop"),
    "a.psb": (b"8BPS", "Photoshop"),
    "a.xcf": (b"gimp xcf", "GIMP"),
    "a.raw": (bytes(9), "camera raw"),
    "a.CR2": (b"II*\0\x10\0\0\0CR\2\0", "camera raw"),
    "a.cr3": (ISO % b"crx ", "camera raw"),
    "a.nef": (b"MM\0*", "camera raw"),
    "a.arw": (b"II*\0", "camera raw"),
    "a.dng": (b"II*\0", "camera raw"),
    "a.orf": (b"IIRO", "camera raw"),
    "a.rw2": (b"IIU\0", "camera raw"),
    "a.raf": (b"FUJIFILMCCD-RAW", "camera raw"),
    "a.exr": (b"\x76\x2f\x31\x01", "OpenEXR"),
    "a.hdr": (b"#?RADIANCE", "Radiance HDR"),
    "a.h5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "a.hdf5": (b"x", "HDF5"),
    "a.mat": (b"MATLAB 5.0", "MATLAB"),
    "a.tfrecord": (b"x", "TFRecord"),
    "a.parquet": (b"PAR1", "Parquet"),
    "a.lmdb": (b"x", "LMDB"),
    "a.pt": (b"PK\3\4", "PyTorch"),
    "a.pth": (b"x", "PyTorch"),
    "a.safetensors": (b"x", "safetensors"),
    "a.pdf": (b"%PDF-1.7", "PDF"),
    "a.ai": (b"%PDF-1.7", "PDF"),
    "a.eps": (b"%!PS", "EPS"),
    "a.mp4": (ISO % b"isom", "video"),
    "a.mov": (ISO % b"qt  ", "video"),
    "a.avi": (b"RIFF\0\0\0\0AVI ", "video"),
    "a.mkv": (b"\x1a\x45\xdf\xa3", "video"),
    "a.webm": (b"x", "video"),
    "a.zip": (b"PK\3\4", "zip"),
    "a.tar": (bytes(257) + b"ustar", "tar"),
    "a.tar.gz": (b"\x1f\x8b", "tar"),
    "a.rar": (b"Rar!", "RAR"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    "a.aae": (b"<?xml", "Apple edits"),
    "a.tga": (b"x", "TGA"),
    "a.ico": (b"x", "ICO"),
    "c.jpg": (b"<!DOCTYPE html>", "web page"),
    "d.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
}
BESIDE = {
    "a.txt": b"x",
    "a.csv": b"a,b",
    "a.json": b"{}",
    "a.xml": b"<?xml?>",
    "a.md": b"# a",
    "a.ini": b"[a]",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "desktop.ini": b"[a]",
    "README": b"x",
    "a.xlsx": b"PK\3\4",
    "index.html": b"<html>",
    "labels": b"1\n",
}


@pytest.fixture
def no_plugin(monkeypatch):
    """pillow-heif is not installed."""
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    data_formats.heif_is_installed.cache_clear()
    data_formats.register_heif.cache_clear()
    yield
    monkeypatch.undo()
    data_formats.heif_is_installed.cache_clear()
    data_formats.register_heif.cache_clear()


def images(folder, n, seed=0, ending=".png", size=(32, 32)):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(
            folder / f"{i}{ending}", "PNG"
        )


@pytest.fixture
def sound(tmp_path):
    """A data set of 20 images in each of trainA and trainB."""
    for seed, domain in enumerate("AB"):
        images(tmp_path / f"set/train{domain}", 20, seed)
    return tmp_path / "set"


@pytest.mark.parametrize("name", CONTENT)
def test_every_format_is_named_with_what_to_do(name, no_plugin):
    content, kind = CONTENT[name]
    pixels, facts = examine_file(name, lambda _: content, (16, 16))
    assert pixels is None and facts["format"] == kind
    assert (
        facts["reason"] == "empty"
        if not content
        else facts["reason"].startswith(f"{kind}, which is not read: ")
        and len(facts["reason"]) < 200
    )


def test_files_that_are_normal_beside_images_are_no_fault(sound):
    for name, content in BESIDE.items():
        (sound / "trainB" / name).write_bytes(content)
    (sound / "trainB/._0.HEIC").write_bytes(b"\0\5\x16\7")
    data = load_domains(sound, 32)
    assert data.notes[-2:] == [
        f"{len(BESIDE)} files left out: no image by name or content",
        "1 hidden file passed over",
    ]
    found = [f for f in check_files(data) if f.check in ("unreadable", "file_format", "left_out")]
    assert [(f.check, f.level, len(f.files)) for f in found] == [("left_out", "note", len(BESIDE))]


def test_formats_that_are_not_read_stop_a_run_and_are_told(sound, no_plugin, capsys):
    for i in range(9):
        (sound / f"trainB/IMG_{i}.HEIC").write_bytes(HEIC)
    assert "9 HEIC files not read: pip install pillow-heif" in " ".join(
        load_domains(sound, 32).notes
    )
    assert doctor_command.main([str(sound), "--no-cost", "--image-size", "32"]) == 1
    assert (
        "ERROR    file_format: HEIC files, which are not read: 9\n         to do: pip install "
        "pillow-heif" in capsys.readouterr().out
    )
    (sound / "trainB/a.jxl").write_bytes(b"\xff\x0a")
    with pytest.raises(
        InputError,
        match=(
            r"10 of 50 images cannot be read, more than 1 % \(9 HEIC, 1 JPEG XL\); the first: "
            r"trainB/IMG_0.HEIC"
        ),
    ):
        load_domains(sound, 32)
    with zipfile.ZipFile(sound.parent / "set.zip", "w") as archive:
        for file in sound.rglob("*.*"):
            archive.write(file, file.relative_to(sound))
    with pytest.raises(
        InputError, match=r"10 of 50 images cannot be read, more than 1 % \(9 HEIC, 1 JPEG XL\)"
    ):
        load_domains(sound.parent / "set.zip", 32)


@pytest.mark.parametrize("name", ["%d.HEIC", "%d", "%d.jpg"])
def test_domain_of_nothing_else_says_what_it_holds(tmp_path, no_plugin, name):
    images(tmp_path / "trainA", 5)
    (tmp_path / "trainB").mkdir()
    for i in range(3):
        (tmp_path / "trainB" / (name % i)).write_bytes(HEIC)
    for strict in (True, False):
        with pytest.raises(
            InputError,
            match=(
                "no image of domain B can be read; it holds 3 HEIC files, which are not read: pip "
                "install"
            ),
        ) as caught:
            load_domains(tmp_path, 32, strict=strict)
        assert "\n" not in str(caught.value)


def test_split_of_nothing_else_is_not_passed_over(sound):
    for domain in "AB":
        (sound / f"test{domain}").mkdir()
        for i in range(10):
            (sound / f"test{domain}/{i}.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(
        InputError,
        match=r"20 of 60 images cannot be read, more than 1 % \(20 NumPy\); the first: testA/0.npy",
    ):
        load_domains(sound, 32)


def test_a_file_of_data_for_each_image_stops_no_run_but_is_told(sound):
    for i in range(20):
        (sound / f"trainB/{i}.mat").write_bytes(b"MATLAB 5.0")
        (sound / f"trainA/IMG_E{i}.AAE").write_bytes(b"<?xml")
    data = load_domains(sound, 32)
    assert {
        f"20 {kind} files not read: {data_formats.fix_of(kind)}"
        for kind in ("MATLAB", "Apple edits")
    } < set(data.notes)
    found = [f for f in check_files(data) if f.check == "file_format"]
    assert [(f.level, len(f.files)) for f in found] == [("warning", 20)] * 2


def test_endings_do_not_decide_where_the_content_can_be_read(tmp_path):
    images(tmp_path / "a", 5, 0, ".HEIC")
    images(tmp_path / "b", 5, 1, ".NPY")
    images(tmp_path / "b/more", 3, 2, "")
    data = load_domains(tmp_path, 32)
    assert (
        data.domains == ("a", "b")
        and data.counts().to_numpy().sum() == 13
        and len(data.skipped) == 0
    )


def test_preview_of_a_camera_raw_file_is_not_taken_for_the_picture(sound):
    Image.new("RGB", (24, 24), "red").save(sound / "trainB/small.tif")
    content = (sound / "trainB/small.tif").read_bytes()
    os.rename(sound / "trainB/small.tif", sound / "trainB/photo.NEF")
    assert load_domains(sound, 32).skipped.file.tolist() == ["trainB/photo.NEF"]
    assert examine_file("photo.tif", lambda _: content, (16, 16))[0] is not None


def test_too_large_or_encrypted_files_count_by_their_name(sound, monkeypatch):
    monkeypatch.setattr("ganlib.data.sources.MAX_BYTES", 50_000)
    (sound / "trainB/film.mp4").write_bytes(bytes(60_000))
    (sound / "all.zip").write_bytes(bytes(60_000))  # not in a domain's folder
    data = load_domains(sound, 32)
    assert [
        (f.check, f.files[0].split(":")[0])
        for f in check_files(data)
        if f.check in ("file_format", "left_out")
    ] == [("file_format", "trainB/film.mp4"), ("left_out", "all.zip")]


def test_images_outside_of_the_layout_are_a_warning(sound):
    (sound / "preview.png").write_bytes((sound / "trainA/0.png").read_bytes())
    assert [
        f.level for f in check_files(load_domains(sound, 32)) if f.check in ("outside", "left_out")
    ] == ["note"]
    images(sound / "test", 2, 3)
    found = [f for f in check_files(load_domains(sound, 32)) if f.check in ("outside", "left_out")]
    assert [(f.check, f.level, len(f.files)) for f in found] == [("outside", "warning", 3)]


def test_heic_is_read_where_the_plugin_is_installed(tmp_path):
    pytest.importorskip("pillow_heif", reason="the optional package pillow-heif is not installed")
    data_formats.heif_is_installed.cache_clear()
    assert data_formats.register_heif()
    for k, domain in enumerate("AB"):
        (tmp_path / f"train{domain}").mkdir()
        for i in range(4):
            file = io.BytesIO()
            Image.new("RGB", (40, 32), (10, 120, 40 * i + 20 * k)).save(file, "HEIF", quality=95)
            (tmp_path / f"train{domain}" / (f"{i}.HEIC" if i else "iphone.jpg")).write_bytes(
                file.getvalue()
            )
    (tmp_path / "trainB/broken.heic").write_bytes(file.getvalue()[:200])
    data = load_domains(tmp_path, 32, strict=False)
    assert set(data.files.format[data.files.reason == ""]) == {
        "HEIF"
    } and data.skipped.file.tolist() == ["trainB/broken.heic"]
    assert "pip install" not in data.skipped.reason[0] and "HEIF" not in FORMATS
    colours = {
        tuple(x[:, 5, 5].tolist()) for pair in (data.train, data.val, data.test) for x in pair.a
    }
    assert len(colours) == 4 and all(abs(r - 10) < 4 and abs(g - 120) < 4 for r, g, _ in colours)
