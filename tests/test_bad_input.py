"""A campaign of bad input: over a thousand files by mutation and by hand. Each is read rightly
or reported with its path and a reason; none crashes, hangs or disappears."""

import io
import json
import os
import random
import stat
import subprocess
import sys
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from tiffs import write_tiff

from ganlib import InputError
from ganlib.data import decode as data_decode
from ganlib.data.decode import decode_image
from ganlib.data.domains import load_domains
from ganlib.errors import printable
from ganlib.faces import draw_faces

KINDS = {
    "jpg": ("JPEG", {}),
    "jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tif": ("TIFF", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "ppm": ("PPM", {}),
    "jp2": ("JPEG2000", {}),
}
RAMP = np.linspace(0, 1, 48 * 48).reshape(48, 48)
DEEP = {
    "real.tif": write_tiff(RAMP.astype("f4")),
    "deep.tif": write_tiff((RAMP * 4095).astype("i2"), 0, ">", deflate=True),
}
MUTANTS = 110  # of each kind
CHILD = """
import json, sys
from ganlib.data.sources import open_source
from ganlib.data.decode import examine_file
source = open_source(sys.argv[1])
facts = []
for name in source.files:
    pixels, found = examine_file(name, source.read, (32, 32))
    shape = None if pixels is None else [*pixels.shape, str(pixels.dtype)]
    facts.append((name, shape, found["reason"]))
print(json.dumps([facts, source.refused]))
"""


def mutate(content, rng):
    """One way in which a file gets broken."""
    data, kind = bytearray(content), rng.randrange(7)
    at = rng.randrange(len(data))
    if kind == 0:  # cut
        return bytes(data[:at])
    if kind == 1:  # bits flipped
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:  # a block of zeros, as of a hole on a disk
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif kind == 3:  # bytes lost
        del data[at : at + rng.randint(1, 50)]
    elif kind == 4:  # bytes put in
        data[at:at] = rng.randbytes(rng.randint(1, 50))
    elif kind == 5:  # numbers in the header made huge
        data[rng.randrange(min(64, len(data)))] = 255
    else:  # two files in one
        data = data[:at] + content[rng.randrange(len(content)) :]
    return bytes(data)


def test_a_thousand_mutants_are_read_or_reported(tmp_path):
    rng, face = random.Random(0), Image.fromarray(draw_faces("anime", 1, 48)[0][0])
    files = {ending: io.BytesIO() for ending in KINDS}
    for ending, (kind, options) in KINDS.items():
        face.save(files[ending], kind, **options)
    contents = {ending: file.getvalue() for ending, file in files.items()} | DEEP
    for ending, content in contents.items():
        for i in range(MUTANTS):
            (tmp_path / f"{i:04}.{ending}").write_bytes(mutate(content, rng))
    child = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", CHILD, tmp_path],
        capture_output=True,
        text=True,
        # A process of its own: a decoder that crashes or hangs is found out
        timeout=240,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    facts, refused = json.loads(child.stdout)
    assert len(facts) == MUTANTS * len(contents) and not refused
    for name, shape, reason in facts:
        assert (shape == [3, 32, 32, "uint8"] and reason == "") or (
            shape is None and reason and "\n" not in reason
        ), name
        assert " at 0x" not in reason and len(reason) <= 200, name
    read = sum(shape is not None for _, shape, _ in facts)
    assert 0.2 < read / len(facts) < 0.9  # neither all nor none: the mutants are of both sorts


def encoded(mode="RGB", colour=(10, 120, 230), size=(24, 24), kind="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind, **options)
    return file.getvalue()


def png_of_size(width, height):
    """A PNG that says it has width x height black pixels, in a few bytes."""

    def chunk(name, data):
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + bytes((8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def turned():
    image, exif = Image.new("RGB", (24, 24), "black"), Image.Exif()
    image.paste("white", (0, 0, 12, 24))
    exif[0x0112] = 3
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def moving():
    file = io.BytesIO()
    Image.new("RGB", (24, 24), "red").save(
        file, "GIF", save_all=True, append_images=[Image.new("RGB", (24, 24), "blue")]
    )
    return file.getvalue()


def palette():
    image = Image.new("P", (24, 24), 0)
    image.putpalette([10, 20, 30] * 256)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    return file.getvalue()


def with_chunk(name, data, crc=0):
    """A PNG with one more chunk before its pixels; crc: what its checksum is wrong by."""
    chunk = len(data).to_bytes(4) + name + data + (zlib.crc32(name + data) ^ crc).to_bytes(4)
    return encoded()[:33] + chunk + encoded()[33:]


def oriented(number, kind="PNG"):
    """An image whose left half is black, with an EXIF orientation."""
    image, exif = Image.new("RGB", (24, 24), "white"), Image.Exif()
    image.paste("black", (0, 0, 12, 24))
    exif[0x0112] = number
    file = io.BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


TEXT_TURN = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\2\0\0\0" + b"6\0\0\0" + bytes(4)  # a text
JUNK, LEFT_OUT = "its EXIF is broken, not turned", "broken or too large texts in it, left out"
NO_TURN = "its EXIF has an orientation that is none, not turned"
READ = {  # content, the colour of its upper left corner, what is remarked
    "cmyk.jpg": (encoded("CMYK", (0, 255, 255, 0), kind="JPEG", quality=95), (254, 0, 0), ""),
    "sixteen_bits.png": (encoded("I;16", 257 * 160), (160, 160, 160), ""),
    "exif_junk.png": (encoded(exif=b"Exif\0\0junk"), (10, 120, 230), JUNK),
    "exif_junk.webp": (
        encoded(kind="WEBP", lossless=True, exif=b"Exif\0\0junk"),
        (10, 120, 230),
        JUNK,
    ),
    "exif_junk.jpg": (encoded(kind="JPEG", quality=95, exif=b"Exif\0\0junk"), (10, 120, 230), JUNK),
    "exif_cut.webp": (
        encoded(kind="WEBP", lossless=True, exif=b"Exif\0\0MM\0"),
        (10, 120, 230),
        JUNK,
    ),
    "exif_far.png": (encoded(exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), (10, 120, 230), ""),
    "exif_chunk.png": (with_chunk(b"eXIf", b"junk"), (10, 120, 230), JUNK),
    "exif_text.png": (
        with_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\nno hex\n"),
        (10, 120, 230),
        JUNK,
    ),
    "turned_0.png": (oriented(0), (0, 0, 0), ""),
    "turned_9.png": (oriented(9), (0, 0, 0), NO_TURN),
    "turned_text.png": (encoded(exif=TEXT_TURN), (10, 120, 230), NO_TURN),
    "turned_9.tif": (oriented(9, "TIFF"), (0, 0, 0), NO_TURN),
    "turned_2.webp": (oriented(2, "WEBP"), (255, 255, 255), "turned as its EXIF says"),
    "turned_2.tif": (oriented(2, "TIFF"), (255, 255, 255), "turned as its EXIF says"),
    "profile_junk.png": (encoded(icc_profile=b"junk"), (10, 120, 230), ""),
    "profile_chunk.png": (with_chunk(b"iCCP", b"junk"), (10, 120, 230), LEFT_OUT),
    "text_sum.png": (with_chunk(b"tEXt", b"a\0b", crc=1), (10, 120, 230), LEFT_OUT),
    "text_method.png": (with_chunk(b"zTXt", b"a\0\x09junk"), (10, 120, 230), LEFT_OUT),
    "text_huge.png": (
        with_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(10**7))),
        (10, 120, 230),
        LEFT_OUT,
    ),
    "gamma_cut.png": (with_chunk(b"gAMA", b""), (10, 120, 230), LEFT_OUT),
    "moving_cut.png": (with_chunk(b"acTL", b"a"), (10, 120, 230), LEFT_OUT),
    "xmp_junk.jpg": (encoded(kind="JPEG", quality=95, xmp=b"\xffjunk"), (10, 120, 230), ""),
    "palette.png": (palette(), (255, 255, 255), "transparent, laid on white"),
    "moving.gif": (moving(), (255, 0, 0), "first of 2 frames"),
    "turned.jpg": (turned(), (0, 0, 0), "turned as its EXIF says"),
    "one_pixel.png": (encoded(size=(1, 1)), (10, 120, 230), ""),
    "really_a_png.jpg": (encoded(), (10, 120, 230), ""),
    "no_ending": (encoded(), (10, 120, 230), ""),
    "text.txt": (encoded(), (10, 120, 230), ""),
    "wide.png": (encoded(size=(3000, 1)), (10, 120, 230), ""),
    "grey_alpha.png": (encoded("LA", (90, 255)), (90, 90, 90), ""),
    "Größe 画像 🙂.png": (encoded(), (10, 120, 230), ""),
    "two\nlines.png": (encoded(), (10, 120, 230), ""),
    "<img src=x onerror=alert(1)>.png": (encoded(), (10, 120, 230), ""),
    b"\xff\xfe.png": (encoded(), (10, 120, 230), ""),
}
REFUSED = {  # content, what the reason says
    "not_a_number.tif": (encoded("F", float("nan"), kind="TIFF"), "no value in it is a finite"),
    "five.tif": (write_tiff(np.ones((9, 9, 5), "u2")), "a TIFF of 5 channels of 16 bits"),
    "empty.png": (b"", "empty"),
    "zeros.jpg": (bytes(5000), "no image (JPEG"),
    "text.png": (b"hello\nworld", "no image (JPEG"),
    "cut.png": (encoded(size=(60, 60))[:80], ""),
    "cut.jpg": (encoded(kind="JPEG", size=(200, 200))[:-300], "truncated"),
    "bomb.png": (png_of_size(30000, 30000), "exceeds limit"),
    "no_width.png": (png_of_size(0, 5), ""),
    "script.eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/owned) (w) file\n",
        "EPS, which is not read",
    ),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG, which is not read"),
    "notes.csv": (b"a,b\n1,2\n", "no image (JPEG"),
}


@pytest.fixture
def sound(tmp_path):
    """A folder with three sound images in each of trainA and trainB, and one in each of the
    others."""
    for split, n in (("train", 3), ("val", 1), ("test", 1)):
        for k, domain in enumerate("AB"):
            (tmp_path / f"{split}{domain}").mkdir()
            for i, face in enumerate(draw_faces(("anime", "selfie")[k], n, 24, split=split)[0]):
                Image.fromarray(face).save(tmp_path / f"{split}{domain}/{i}.png")
    return tmp_path


def test_odd_files_are_read_rightly(sound):
    for key, (content, _, _) in READ.items():
        (sound / "trainA" / os.fsdecode(key)).write_bytes(content)
    data = load_domains(sound, 24)
    files = data.files[(data.files.domain == "A") & (data.files.split == "train")].reset_index(
        drop=True
    )
    assert len(data.skipped) == 0 and len(files) == 3 + len(READ) == len(data.train.a)
    for key, (_, colour, remark) in READ.items():
        row = files.index[files.file == printable(f"trainA/{os.fsdecode(key)}")][0]
        assert np.abs(data.train.a[row, :, 1, 1].numpy().astype(int) - colour).max() <= 2, key
        assert files.remark[row] == remark, key


def test_bad_files_are_reported_with_path_and_reason(sound, monkeypatch):
    for key, (content, _) in REFUSED.items():
        (sound / "trainB" / key).write_bytes(content)
    (sound / "trainB/folder.png").mkdir()
    (sound / "trainB/folder.png/inside.png").write_bytes(encoded())
    (sound / "trainB/itself.png").symlink_to("itself.png")
    (sound / "trainB/nowhere.png").symlink_to("gone.png")
    (sound / "trainB/round").symlink_to("..")
    os.mkfifo(sound / "trainB/pipe.png")
    (sound / "README.md").write_text("about")
    monkeypatch.setattr("ganlib.data.sources.MAX_BYTES", 50_000)
    (sound / "trainB/large.png").write_bytes(bytes(60_000))
    with pytest.raises(InputError, match="images cannot be read, more than 1 %"):
        load_domains(sound, 24)
    facts = load_domains(sound, 24, strict=False).files
    reasons = dict(zip(facts.file, facts.reason))
    for key, (_, why) in REFUSED.items():
        assert why in reasons[f"trainB/{key}"] and reasons[f"trainB/{key}"], key
    assert reasons["trainB/folder.png/inside.png"] == ""
    assert (
        "symbolic links" in reasons["trainB/itself.png"]
        and "No such file" in reasons["trainB/nowhere.png"]
    )
    assert reasons["trainB/round"] == "a link back to a folder that it lies in"
    assert (
        reasons["trainB/pipe.png"] == "neither a file nor a folder"
        and reasons["README.md"] == "outside the layout"
    )
    assert reasons["trainB/large.png"] == "60,000 bytes, more than the 50,000 that are read"
    assert len(facts) == len(facts.file.unique()) == 10 + len(REFUSED) + 7


def test_files_and_folders_without_permission(sound):
    (sound / "trainA/secret.png").write_bytes(encoded())
    (sound / "trainA/locked").mkdir()
    (sound / "trainA/locked/inside.png").write_bytes(encoded())
    for folder in (sound, *sound.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith(str(sound.parents[2])):
            folder.chmod(0o755)
    (sound / "trainA/secret.png").chmod(0)
    (sound / "trainA/locked").chmod(0)
    root = os.geteuid() == 0  # whom no permission stops: read as nobody
    try:
        if root:
            os.seteuid(65534)
        data = load_domains(sound, 24)
    finally:
        if root:
            os.seteuid(0)
        (sound / "trainA/locked").chmod(0o755)
    assert data.skipped.values.tolist() == [
        ["trainA/secret.png", "Permission denied"],
        ["trainA/locked", "Permission denied"],
    ]


def zip_of(path, members, sound):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(sound.rglob("*.png")):
            archive.write(file, file.relative_to(sound))
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_zip_members_that_leave_or_blow_up_are_refused(sound, monkeypatch):
    monkeypatch.setattr("ganlib.data.sources.MAX_BYTES", 100_000)
    link = zipfile.ZipInfo("trainA/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = [
        ("../evil.png", encoded()),
        ("/etc/evil.png", encoded()),
        ("trainA/../../evil.png", encoded()),
        ("C:\\evil.png", encoded()),
        (link, "/etc/passwd"),
        ("trainA/zeros.png", bytes(200_000)),
        ("trainA\\windows.png", encoded()),
    ]
    data = load_domains(zip_of(sound / "set.zip", members, sound), 24)
    assert dict(data.skipped.values) == {
        "../evil.png": "its name leaves the archive",
        "/etc/evil.png": "its name leaves the archive",
        "trainA/../../evil.png": "its name leaves the archive",
        "C:/evil.png": "its name leaves the archive",
        "trainA/link.png": "a link",
        "trainA/zeros.png": "200,000 bytes, more than the 100,000 that are read",
    }
    assert (
        "trainA/windows.png" in data.files.file.tolist()
        and not (sound.parent / "evil.png").exists()
    )
    assert len(data.train.a) == 4


def test_zip_that_lies_about_its_sizes_or_is_damaged(sound):
    path = zip_of(sound / "set.zip", [("trainA/liar.png", bytes(50_000))], sound)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"trainA/liar.png") - 46
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")  # it says: 10 bytes
    path.write_bytes(content)
    data = load_domains(path, 24)
    assert data.skipped.file.tolist() == ["trainA/liar.png"] and data.skipped.reason[0]
    start = content.index(b"trainB/1.png") + len(b"trainB/1.png")
    content[start + 20 : start + 60] = bytes(40)
    path.write_bytes(content)
    assert set(load_domains(path, 24).skipped.file) == {"trainA/liar.png", "trainB/1.png"}


def test_picture_of_many_pixels_is_not_decoded():
    with (
        pytest.raises(ValueError, match="more than the 100,000,000"),
        warnings.catch_warnings(action="ignore"),
    ):
        decode_image(png_of_size(12_000, 12_000), (16, 16))
    assert data_decode.MAX_PIXELS == 100_000_000 and "EPS" not in data_decode.FORMATS
