"""Files that people have as images, or beside images, and that are not read here: what they are
called, and how to convert them."""

import importlib.util
import re
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image


class Kind(NamedTuple):
    """A kind of file that is not read: its name, its endings, and how to get images from it."""

    name: str
    endings: str
    fix: str


PICTURE = "convert each to PNG or JPEG"
ARRAY = 'save each picture as PNG or TIFF (Pillow: Image.fromarray(array).save("NAME.png"))'
SCAN = "save the slices that you want as TIFF or 16-bit PNG"
TABLE = "write its pictures out as PNG or JPEG, a file each"
FILM = "take pictures out of it (ffmpeg -i FILE pictures/%05d.png)"
UNPACK = "unpack it"
KINDS = (
    Kind(
        "HEIC",
        ".heic .heif .hif .heics .heifs",
        "pip install pillow-heif, with which it is read, or convert each to JPEG",
    ),
    Kind("JPEG XL", ".jxl", "convert each to PNG (djxl NAME.jxl NAME.png)"),
    Kind("AVIF", ".avif .avifs", "install a Pillow that has AVIF, or convert each to PNG"),
    Kind(
        "camera raw",
        ".raw .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .x3f .3fr .iiq "
        ".erf .mef .mos .mrw .kdc .dcr .rwl",
        "develop each to JPEG, PNG or TIFF (darktable, rawpy)",
    ),
    Kind("OpenEXR", ".exr", "convert each to TIFF or PNG"),
    Kind("Radiance HDR", ".hdr .rgbe", "convert each to TIFF or PNG"),
    Kind("Photoshop", ".psd .psb", PICTURE),
    Kind("GIMP", ".xcf", PICTURE),
    Kind("Krita", ".kra", PICTURE),
    Kind("SVG", ".svg .svgz", "draw each as PNG at the size that you want"),
    Kind("PDF", ".pdf", "draw each page as PNG (pdftoppm -png)"),
    Kind("Illustrator", ".ai", PICTURE),
    Kind("EPS", ".eps .ps", PICTURE),
    Kind("FITS", ".fits .fit .fts", ARRAY),
    Kind("NumPy", ".npy .npz", ARRAY),
    Kind("MATLAB", ".mat", ARRAY),
    Kind("HDF5", ".h5 .hdf5 .hdf .he5", ARRAY),
    Kind("PyTorch", ".pt .pth .ckpt", ARRAY),
    Kind("safetensors", ".safetensors", ARRAY),
    Kind("pickle", ".pkl .pickle", ARRAY),
    Kind("DICOM", ".dcm .dicom .ima", SCAN),
    Kind("NIfTI", ".nii .nii.gz", SCAN),
    Kind("MetaImage", ".mha .mhd .zraw", SCAN),
    Kind("NRRD", ".nrrd .nhdr", SCAN),
    Kind("MINC", ".mnc", SCAN),
    Kind("microscope", ".czi .lif .nd2 .oib .oif .vsi .svs .ndpi .mrxs", SCAN),
    Kind("TFRecord", ".tfrecord .tfrecords", TABLE),
    Kind("Parquet", ".parquet", TABLE),
    Kind("Arrow", ".arrow .feather", TABLE),
    Kind("LMDB", ".lmdb .mdb", TABLE),
    Kind("video", ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .flv", FILM),
    Kind("zip", ".zip", UNPACK),
    Kind("tar", ".tar .tar.gz .tgz .tar.bz2 .tar.xz .tar.zst", UNPACK),
    Kind("gzip", ".gz", UNPACK),
    Kind("RAR", ".rar", UNPACK),
    Kind("7-Zip", ".7z", UNPACK),
    Kind(
        "Apple edits",
        ".aae",
        "export the edited photographs as JPEG; this file holds the edits alone",
    ),
    Kind("web page", "", "it was saved in place of an image: download that again"),
    Kind("Git LFS pointer", "", "it stands for an image that was not downloaded: git lfs pull"),
)
NAMED = {kind.name: kind for kind in KINDS}
BY_ENDING = {ending: kind for kind in KINDS for ending in kind.endings.split()}
STARTS = {  # how such a file begins, and where
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\x93NUMPY": "NumPy",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"NRRD000": "NRRD",
    b"8BPS": "Photoshop",
    b"gimp xcf": "GIMP",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"MATLAB 5": "MATLAB",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"%PDF": "PDF",
    b"%!PS": "EPS",
    b"\x1a\x45\xdf\xa3": "video",
    b"Rar!": "RAR",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"SIMPLE  =": "FITS",
    b"PK\3\4": "zip",
    b"\x1f\x8b": "gzip",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"version https://git-lfs": "Git LFS pointer",
    b"ObjectType = Image": "MetaImage",
}
RAW_STARTS = b"IIRO", b"IIRS", b"MMOR", b"IIU\0"  # TIFF's in a way, of Olympus and Panasonic
PACKED = "zip", "gzip", "web page"
FAMILIES = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"crx ": "camera raw",
}  # of the boxes of ISO media, by their brand
HEAD = 1000  # bytes in which a start is looked for


@cache
def heif_is_installed():
    """Whether HEIC is read, by the plug-in pillow-heif."""
    return importlib.util.find_spec("pillow_heif") is not None


@cache
def register_heif():
    """Have Pillow read HEIC; False where the plug-in is not to be had."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:  # not installed, or without a library that it needs
        return False
    register_heif_opener()
    return True


def openers(content, read):
    """The formats of Pillow that may open a file: that of the plug-in if it is HEIC, else
    `read`."""
    kind = kind_by_content(content) if content[4:8] == b"ftyp" else None
    return ["HEIF"] if kind and kind.name == "HEIC" and register_heif() else read


def endings(name):
    """The last ending of a file's name and the last two, in small letters: ".gz", ".nii.gz"."""
    last = [part.lower() for part in PurePosixPath(name).suffixes[-2:]]
    return (last[-1], "".join(last)) if last else ("", "")


def kind_by_name(name):
    """The Kind of a file by its ending, or None, also for HEIC where that is read."""
    last, both = endings(name)
    kind = BY_ENDING.get(both) or BY_ENDING.get(last)
    return None if kind == NAMED["HEIC"] and heif_is_installed() else kind


def kind_by_content(content):
    """The Kind of a file by how it begins, or None."""
    head = content[:HEAD]
    if head[4:8] == b"ftyp":
        brands = [
            head[8:12],
            *(head[i : i + 4] for i in range(16, min(len(head), int.from_bytes(head[:4])), 4)),
        ]
        known = [FAMILIES[brand] for brand in brands if brand in FAMILIES]
        return NAMED["AVIF" if "AVIF" in known else known[0] if known else "video"]
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return NAMED["video"]
    if head.startswith(RAW_STARTS) or head[8:10] == b"CR" and head[:4] == b"II*\0":
        return NAMED["camera raw"]
    for at, start, name in (
        (128, b"DICM", "DICOM"),
        (257, b"ustar", "tar"),
        (344, b"n+1\0", "NIfTI"),
        (344, b"ni1\0", "NIfTI"),
    ):
        if head[at : at + len(start)] == start:
            return NAMED[name]
    for start, name in STARTS.items():
        if head.startswith(start):
            return NAMED[name]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if re.match(
        rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype svg[^>]*>\s*)?<svg", text, re.DOTALL
    ):
        return NAMED["SVG"]
    return NAMED["web page"] if text.startswith((b"<!doctype html", b"<html")) else None


def is_raw(name, content):
    """Whether a file is a camera's raw one that Pillow takes for a TIFF, and reads a preview of."""
    last, _ = endings(name)
    tiff = content[:4] in (b"II*\0", b"MM\0*")
    return tiff and (
        BY_ENDING.get(last) == NAMED["camera raw"]
        or kind_by_content(content) == NAMED["camera raw"]
    )


def find_kind(name, content, read):
    """The Kind of a file that Pillow did not know, or None. read: Pillow's formats that are
    read."""
    by_content = kind_by_content(content)
    by_name = kind_by_name(name)
    if (
        by_content
        and by_content.name in PACKED
        and (by_name or endings(name)[0] and not is_image_name(name))
    ):
        by_content = None  # what .npz, .pt, .nii.gz, and a .docx, are inside
    kind = by_content or by_name or kind_of_pillow(name, read)
    readable = {"AVIF": "AVIF" in read, "HEIC": heif_is_installed() and register_heif()}
    return None if kind and readable.get(kind.name) else kind


def kind_of_pillow(name, read):
    """The Kind of a file that Pillow reads and this project does not (TGA, ICO, ...), or None."""
    known = Image.registered_extensions().get(endings(name)[0])
    return Kind(known, "", PICTURE) if known and known not in (*read, "HEIF", "MPO") else None


def explain(kind):
    """Why a file of a Kind is not read, and what to do."""
    return f"{kind.name}, which is not read: {kind.fix}"


def is_image_name(name):
    """Whether the ending is that of an image, or of a row of a hub's data set."""
    ending = endings(name)[0]
    if BY_ENDING.get(ending) == NAMED["HEIC"]:
        return heif_is_installed()
    return ending == ".row" or Image.registered_extensions().get(ending) in Image.OPEN


def fix_of(name):
    """How to get images from files of the kind of this name."""
    return NAMED[name].fix if name in NAMED else PICTURE
