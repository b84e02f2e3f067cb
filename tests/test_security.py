"""What comes from outside is data and is never executed, and nothing but the user's own machine
is talked to: each test plants what a stranger might, armed to leave a marker."""

import io
import json
import os
import pickle
import stat
import subprocess
import sys
import time
import tracemalloc
import urllib.error
import urllib.request
import warnings
import zipfile
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from ganlib import ROOT, InputError
from ganlib.compare.tables import gather
from ganlib.data import decode as data_decode
from ganlib.data import sources as data_sources
from ganlib.data.decode import decode_image
from ganlib.data.domains import load_domains
from ganlib.data.splits import read_manifest
from ganlib.evaluate import inception as evaluate_inception
from ganlib.evaluate import probe as evaluate_probe
from ganlib.models.build import build_nets, pack_weights
from ganlib.models.ema import build_ema
from ganlib.parallel.many_runs import connect
from ganlib.report.settings import plan
from ganlib.runs.checkpoint import Damaged, read_state, write_state
from ganlib.runs.finished import load_run
from ganlib.runs.folder import FILES, claim_run_folder, load_config, read_json, save_weights
from ganlib.runs.job import read_job
from ganlib.system.values import parse_yaml


class Payload:
    """Leaves its marker when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path):
    """The path of a marker: at the end of the test it is not there."""
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists(), "what was planted has been executed"


def pickles(marker):
    """Files that leave the marker when they are unpickled, by how they are made."""
    plain, zipped, legacy = pickle.dumps(Payload(marker)), io.BytesIO(), io.BytesIO()
    torch.save({"g_ab": Payload(marker)}, zipped)
    torch.save({"g_ab": Payload(marker)}, legacy, _use_new_zipfile_serialization=False)
    return {"pickle": plain, "torch": zipped.getvalue(), "legacy torch": legacy.getvalue()}


def refused(call, *named):
    """The message of the InputError that a call raises: one short line that has all of `named`
    in it."""
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert text.isprintable() and len(text) < 1200 and all(str(name) in text for name in named), (
        text[:2000]
    )
    return text


@pytest.fixture
def run_folder(tmp_path, tiny):
    """A run folder that load_run takes, and its weights as a dict of numpy arrays."""
    cfg, folder = tiny(ngf=1, ndf=1), tmp_path / "run"
    claim_run_folder(folder, cfg, "0" * 64)
    nets = build_nets(cfg, "cpu")
    for name in FILES:
        save_weights(folder / name, pack_weights(nets, [build_ema(net) for net in nets[:2]]))
    (folder / "metrics.jsonl").write_text('{"split": "train", "epoch": 1, "step": 1}\n')
    (folder / "metrics.json").write_text("{}")
    assert load_run(folder).cfg == cfg
    return folder


def test_the_payload_is_armed(tmp_path):
    for name, content in pickles(tmp_path / "executed").items():
        torch.load(io.BytesIO(content), weights_only=False) if "torch" in name else pickle.loads(
            content
        )
        (tmp_path / "executed").unlink()


@pytest.mark.parametrize("kind", ["pickle", "torch", "legacy torch"])
def test_no_pickle_from_outside_is_executed(run_folder, tmp_path, marker, kind, monkeypatch, faces):
    content = pickles(marker)[kind]
    for name in FILES:
        whole = (run_folder / name).read_bytes()
        (run_folder / name).write_bytes(content)
        # As earlier versions had them: not even opened
        (run_folder / name.replace("safetensors", "pt")).write_bytes(content)
        refused(lambda: load_run(run_folder), run_folder / name)
        (run_folder / name).write_bytes(whole)
    load_run(run_folder)

    path = tmp_path / "checkpoint-000000001.pt"
    # The second one with a checksum that is right
    for at_hand in (content, checkpoint_of(content)):
        path.write_bytes(at_hand)
        with pytest.raises(Damaged):
            read_state(path)

    path = tmp_path / "pt_inception.pth"
    path.write_bytes(content)
    # As one might find with some patience
    monkeypatch.setattr(
        "ganlib.evaluate.inception.HASH", evaluate_inception.hashlib.sha256(content).hexdigest()[:8]
    )
    refused(lambda: evaluate_inception.find_inception(str(path)), path)

    kept = [
        evaluate_probe.CACHE
        / f"probe-{evaluate_probe.PROBE_VERSION}-attributes-{faces.fingerprint[:16]}.pt"
    ]
    monkeypatch.setattr("ganlib.evaluate.probe.CACHE", tmp_path)
    (tmp_path / kept[0].name).write_bytes(content)
    monkeypatch.setattr("ganlib.evaluate.probe.train_probe", lambda images: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # it would be trained anew
        evaluate_probe.find_probe(faces)


def checkpoint_of(content):
    """A checkpoint with a right checksum around a file of torch that is not one."""
    return (
        f"ganlib checkpoint 1 {evaluate_inception.hashlib.sha256(content).hexdigest()} "
        f"{len(content)}\n"
    ).encode() + content


def test_checkpoint_of_the_test_above_is_in_the_form_of_checkpoints(tmp_path):
    content = io.BytesIO()
    torch.save({"step": 3}, content)
    (tmp_path / "a").write_bytes(checkpoint_of(content.getvalue()))
    write_state(tmp_path / "b", {"step": 3})
    assert read_state(tmp_path / "a") == read_state(tmp_path / "b") == {"step": 3}


def open_safetensors(content):
    """(header as a dict, data) of a safetensors file."""
    n = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + n]), content[8 + n :]


def make_safetensors(header, data, length=None):
    """The inverse, with a length of the header that may be a lie."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def change(header, **facts):
    """The header with other facts of its first tensor."""
    first = next(name for name in header if name.endswith("weight"))
    return header | {first: header[first] | facts}


HOSTILE = {
    "empty": lambda h, d: b"",
    "header of 2^63 bytes": lambda h, d: make_safetensors(h, d, 2**63),
    "header of all memory": lambda h, d: make_safetensors(h, d, 2**40),
    "header longer than the file": lambda h, d: make_safetensors(
        h, d, len(json.dumps(h)) + len(d) + 1
    ),
    "nested header": lambda h, d: make_safetensors(b"[" * 100_000, d),
    "nested objects": lambda h, d: make_safetensors(b'{"a":' * 100_000, d),
    "no header": lambda h, d: make_safetensors(b"\xff" * 50, d),
    "overlapping tensors": lambda h, d: make_safetensors(change(h, data_offsets=[0, len(d)]), d),
    "all tensors in one place": lambda h, d: make_safetensors(
        {n: f if n[0] == "_" else f | {"data_offsets": [0, 4]} for n, f in h.items()}, d
    ),
    "tensor outside": lambda h, d: make_safetensors(
        change(h, data_offsets=[len(d), len(d) + 10**12]), d
    ),
    "backward": lambda h, d: make_safetensors(change(h, data_offsets=[8, 0]), d),
    "shape of more than the memory": lambda h, d: make_safetensors(
        change(h, shape=[2**40, 2**40]), d
    ),
    "negative shape": lambda h, d: make_safetensors(change(h, shape=[-1, 3]), d),
    "unknown type": lambda h, d: make_safetensors(change(h, dtype="OBJECT"), d),
    "cut": lambda h, d: make_safetensors(h, d[:-1]),
    "more": lambda h, d: make_safetensors(h, d + b"more"),
    "no names of networks": lambda h, d: make_safetensors(
        {n.replace(".", "_"): f for n, f in h.items()}, d
    ),
    "no tensor": lambda h, d: make_safetensors({}, b""),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", FILES)
def test_safetensors_with_a_hostile_header_are_refused(run_folder, kind, name):
    content = HOSTILE[kind](*open_safetensors((run_folder / name).read_bytes()))
    (run_folder / name).write_bytes(content)
    refused(lambda: load_run(run_folder), run_folder / name)


@pytest.mark.parametrize("kind", ["shape", "type", "name", "missing", "one more"])
def test_safetensors_of_another_network_are_refused(run_folder, kind):
    from safetensors.numpy import load_file, save_file

    path = run_folder / FILES[0]
    weights = load_file(path)
    key = next(key for key in weights if key.startswith("g_ab.") and key.endswith("weight"))
    if kind == "shape":
        weights[key] = weights[key][..., :-1].copy()
    elif kind == "type":
        weights[key] = weights[key].astype(bool)
    elif kind == "name":
        weights["\x1b[2Jg_ab.\n" + key] = weights.pop(key)
    elif kind == "missing":
        weights.pop(key)
    else:
        weights["g_ab.more"] = weights[key]
    save_file(weights, path)
    refused(lambda: load_run(run_folder), path)


JSONS = {
    "nested lists": "[" * 100_000,
    "nested dicts": '{"a":' * 100_000,
    "digits": '{"steps": ' + "9" * 5000 + "}",
    "empty": "",
    "list": "[1, 2]",
    "number": "1",
    "no text": b"\xff\xfe",
    "not a number": '{"lr_g": NaN}',
    "infinite": '{"steps": Infinity}',
    "huge": '{"lr_g": 1e999}',
    "another's field": '{"cls": 1}',
    "name of two lines": '{"a\\nb\\u001b[2J": 1}',
    "lone surrogate": '{"\\ud800": 1}',
    "long name": json.dumps({"x" * 100_000: 1}),
    "long value": json.dumps({"arch": "x" * 100_000}),
    "list of lists": '{"image_size": [[[[1]]], 2]}',
    "unhashable": '{"recipe": {}}',
    "no recipe": '{"recipe": null}',
}


@pytest.mark.parametrize("kind", JSONS)
def test_json_that_is_none_of_ours_is_refused(run_folder, tiny, kind):
    content = JSONS[kind] if isinstance(JSONS[kind], bytes) else JSONS[kind].encode()
    whole = (run_folder / "config.json").read_bytes()
    (run_folder / "config.json").write_bytes(content)
    for call in (
        lambda: load_config(run_folder),
        lambda: load_run(run_folder),
        lambda: gather([run_folder]),
    ):
        refused(call)
    refused(lambda: claim_run_folder(run_folder, tiny(), "0" * 64), run_folder)
    (run_folder / "config.json").write_bytes(whole)
    (run_folder / "metrics.json").write_bytes(content)
    if kind in ("nested lists", "nested dicts", "digits", "empty", "list", "number", "no text"):
        refused(lambda: load_run(run_folder), run_folder / "metrics.json")
    refused(lambda: gather([run_folder]), run_folder)


def test_json_is_a_file_and_its_last_value_counts(tmp_path):
    (tmp_path / "config.json").mkdir()
    refused(lambda: load_config(tmp_path), tmp_path / "config.json")
    (tmp_path / "twice.json").write_text('{"steps": 1, "steps": 2}')
    assert read_json(tmp_path / "twice.json") == {"steps": 2}


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij")
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, name in zip("abcdefghi", "bcdefghij")
)
YAMLS = {
    "apply": '!!python/object/apply:os.system ["touch MARKER"]',
    "within": 'train: {steps: !!python/object/apply:os.system ["touch MARKER"]}',
    "new": '!!python/object/new:os.system ["touch MARKER"]',
    "name": "train: !!python/name:os.system",
    "module": "!!python/module:os",
    "subprocess": '!!python/object/apply:subprocess.check_output [["touch", "MARKER"]]',
    "tuple": "train: !!python/tuple [1, 2]",
    "billion laughs": LAUGHS + "train: {steps: *j}",
    "laughs as merges": MERGES,
    "itself": "train: &a {steps: *a}",
    "itself as a list": "&a [*a]",
    "nested lists": "[" * 100_000,
    "nested blocks": "- " * 20_000,
    "nested dicts": "{a: " * 20_000,
    "digits": "train: {steps: " + "9" * 5000 + "}",
    "hexadecimal digits": "train: {steps: 0x" + "f" * 50_000 + "}",
    "no date": "train: {steps: 2001-99-99}",
    "date": "train: {steps: 2001-01-01}",
    "empty number": "train: {steps: !!int ''}",
    "empty fraction": "train: {lr_g: !!float ''}",
    "no time": "train: {steps: !!timestamp x}",
    "no truth": "train: {steps: !!bool x}",
    "bytes": "train: {arch: !!binary aGVsbG8=}",
    "set": "train: {arch: !!set {a, b}}",
    "date as a name": "2001-01-01: 1",
    "digits as a name": "0x" + "f" * 50_000 + ": 1",
    "list as a name": "? [a, b]\n: 1",
    "two lines as a name": '"a\\nb\\e[2J": 1',
    "NUL": "a: \0",
    "no text": b"\xff\xfe\x00\xd8",
    "two documents": "a: 1\n---\nb: 2",
    "long value": "train: {arch: " + "x" * 100_000 + "}",
    "long name": "x" * 1000 + ": 1",
    "another's field": "train: {cls: 1}",
    "number as a name": "train: {1: 2}",
    "surrogate": 'train: {arch: "\\ud800"}',
    "tag": "!mine {a: 1}",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", YAMLS)
def test_yaml_that_is_no_plain_settings_is_refused(tmp_path, marker, kind):
    content = (
        YAMLS[kind]
        if isinstance(YAMLS[kind], bytes)
        else YAMLS[kind].replace("MARKER", str(marker)).encode()
    )
    (tmp_path / "job.yaml").write_bytes(content)
    began = time.monotonic()
    refused(lambda: read_job(tmp_path / "job.yaml"))
    refused(lambda: plan(tmp_path / "job.yaml", {}))
    (tmp_path / "report.yaml").write_bytes(
        b"notebooks: [02_cyclegan]\ncommon:\n"
        + b"".join(b"  " + line + b"\n" for line in content.splitlines())
    )
    refused(lambda: plan(tmp_path / "report.yaml", {}))
    if isinstance(YAMLS[kind], str):
        (tmp_path / "report.yaml").write_text("notebooks: [02_cyclegan]\n")
        refused(
            lambda: plan(
                tmp_path / "report.yaml", {"steps": YAMLS[kind].replace("MARKER", str(marker))}
            )
        )
    assert time.monotonic() - began < 60


def test_yaml_settings_that_are_plain_are_read(tmp_path):
    assert parse_yaml("a: [1, 2.5, true, null, x]\nb: {c: {d: '*e'}}") == {
        "a": [1, 2.5, True, None, "x"],
        "b": {"c": {"d": "*e"}},
    }
    for path in (ROOT / "reports").glob("*.yaml"):
        assert plan(path, {})
    (tmp_path / "job.yaml").write_text("train: {steps: 3}\n")
    assert read_job(tmp_path / "job.yaml")["train"].steps == 3


@pytest.fixture
def small(tmp_path):
    """A folder of two domains in train, val and test, an image of noise each, and three in
    train."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 3), ("val", 1), ("test", 1)):
        for domain in "AB":
            (tmp_path / f"set/{split}{domain}").mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(
                    tmp_path / f"set/{split}{domain}/{i}.png"
                )
    return tmp_path / "set"


def zipped(folder, path, members, method=zipfile.ZIP_DEFLATED):
    """A zip of the folder with more members, (name or ZipInfo, content)."""
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
        for name, content in members:
            archive.writestr(name, content)
    return path


def member(name, kind=stat.S_IFREG):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def test_zip_in_a_zip_is_not_opened_and_odd_members_are_told(small, tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../evil.png", bytes(10**7))
    first = (small / "trainA/0.png").read_bytes()
    members = [
        ("trainA/inner.zip", inner.getvalue()),
        ("trainA/inner.png", inner.getvalue()),
        (member("trainA/to.png", stat.S_IFLNK), "/etc/passwd"),
        ("trainA/0.png", b"again"),
        ("trainA/../../../evil.png", first),
        ("//host/share/evil.png", first),
        ("..\\..\\evil.png", first),
        ("trainA/./dot.png", first),
        ("trainA//two.png", first),
        ("trainA/\x1b[2J\n.png", first),
    ]
    data = load_domains(zipped(small, tmp_path / "set.zip", members), 24)
    reasons = dict(data.skipped.values)
    told = [reasons[f"trainA/inner.{ending}"] for ending in ("png", "zip")]
    assert (
        told == ["zip, which is not read: unpack it"] * 2 and reasons["trainA/to.png"] == "a link"
    )
    assert reasons["trainA/0.png"] == "a second member of this name; the first is used"
    assert [
        reasons[name]
        for name in ("trainA/../../../evil.png", "//host/share/evil.png", "../../evil.png")
    ] == ["its name leaves the archive"] * 3
    assert len(data.train.a) == 6 and all(name.isprintable() for name in data.files.file)
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["set", "set.zip"]
        and not (tmp_path.parent / "evil.png").exists()
    )


def test_encrypted_members_and_unknown_methods_are_told(small, tmp_path):
    path = zipped(
        small, tmp_path / "set.zip", [("trainA/secret.png", b"x"), ("trainA/odd.png", b"y")]
    )
    content = bytearray(path.read_bytes())
    # Flags and method, in the directory and before the data
    for name, at, value in ((b"trainA/secret.png", 8, 1), (b"trainA/odd.png", 10, 99)):
        content[content.rindex(name) - 46 + at] = value
        content[content.index(name) - 30 + at - 2] = value
    path.write_bytes(content)
    reasons = dict(load_domains(path, 24).skipped.values)
    assert reasons["trainA/secret.png"] == "encrypted" and "ompression" in reasons["trainA/odd.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_bomb_is_not_unpacked_beyond_the_limit(small, tmp_path, method, monkeypatch):
    monkeypatch.setattr("ganlib.data.sources.MAX_BYTES", 10**6)
    path = zipped(small, tmp_path / "set.zip", [("trainA/bomb.png", bytes(30 * 10**6))], method)
    assert path.stat().st_size < 100_000
    assert dict(load_domains(path, 24).skipped.values) == {
        "trainA/bomb.png": "30,000,000 bytes, more than the 1,000,000 that are read"
    }
    content = bytearray(path.read_bytes())
    content[content.rindex(b"trainA/bomb.png") - 46 + 24 :][:4] = b""
    at = content.rindex(b"trainA/bomb.png") - 46 + 24
    content[at : at + 4] = (1000).to_bytes(4, "little")  # it says: 1,000 bytes
    path.write_bytes(content)
    source = data_sources.open_source(path)
    with pytest.raises(zipfile.BadZipFile):
        source.read("trainA/bomb.png")
    assert set(load_domains(path, 24).skipped.file) == {"trainA/bomb.png"}


def frames(kind, n, **options):
    file, image = io.BytesIO(), Image.new("P" if kind == "GIF" else "RGB", (2, 2))
    others = (Image.new(image.mode, (2, 2), i % 2 + 1) for i in range(n - 1))
    image.save(file, kind, save_all=True, append_images=others, **options)
    return file.getvalue()


def tiff_that_goes_round():
    """A TIFF whose directory of the first frame is followed by itself."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    at = int.from_bytes(content[4:8], "little")
    end = at + 2 + 12 * int.from_bytes(content[at : at + 2], "little")
    content[end : end + 4] = content[4:8]
    return bytes(content)


@pytest.mark.parametrize(
    "kind, make",
    [
        ("GIF", lambda: frames("GIF", 5000)),
        ("TIFF", lambda: frames("TIFF", 1000)),
        ("WEBP", lambda: frames("WEBP", 2000)),
        ("PNG", lambda: frames("PNG", 2000)),
        ("TIFF", tiff_that_goes_round),
    ],
)
def test_of_thousands_of_frames_the_first_is_read(kind, make):
    content, began = make(), time.monotonic()
    pixels, facts = decode_image(content, (16, 16))
    assert pixels.shape == (3, 16, 16) and facts["format"] == kind and time.monotonic() - began < 30


def test_only_pictures_of_known_formats_are_opened(small, marker):
    pdf, eps, npy, text = (
        io.BytesIO(),
        io.BytesIO(),
        io.BytesIO(),
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch {marker}) (w) file\n",
    )
    Image.new("RGB", (9, 9)).save(pdf, "PDF")
    Image.new("RGB", (9, 9)).save(eps, "EPS")
    np.save(npy, np.array([Payload(marker)], object), allow_pickle=True)
    planted = {
        "picture.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "page.png": pdf.getvalue(),
        "drawing.png": eps.getvalue(),
        "program.jpg": text.encode(),
        "array.png": npy.getvalue(),
        **{f"{k}.png": v for k, v in pickles(marker).items()},
        "script.png": f"#!/bin/sh\ntouch {marker}\n".encode(),
        "cut.png": (small / "trainA/0.png").read_bytes()[:60],
    }
    for name, content in planted.items():
        (small / "trainA" / name).write_bytes(content)
    data = load_domains(small, 24, strict=False)
    assert (
        set(data.skipped.file) == {f"trainA/{name}" for name in planted} and len(data.train.a) == 3
    )
    assert not {"EPS", "PSD", "PDF", "FPX", "WMF", "MIC", "ICNS"} & set(data_decode.FORMATS)


def test_texts_in_a_png_that_blow_up_are_not_unpacked():
    from zlib import compress, crc32

    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    body = b"comment\0\0" + compress(bytes(10**8))
    chunk = len(body).to_bytes(4, "big") + b"zTXt" + body + crc32(b"zTXt" + body).to_bytes(4, "big")
    tracemalloc.start()
    try:
        pixels, facts = decode_image(file.getvalue()[:33] + chunk + file.getvalue()[33:], (16, 16))
        assert tracemalloc.get_traced_memory()[1] < 10**7  # of the 100 MB in it
    finally:
        tracemalloc.stop()
    assert facts["remark"] == "broken or too large texts in it, left out" and not pixels.any()


def test_manifest_and_data_that_are_pipes_are_not_waited_for(small, tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    refused(lambda: load_domains(tmp_path / "pipe.zip"), tmp_path / "pipe.zip")
    os.mkfifo(tmp_path / "ganlib_manifest.csv")
    refused(
        lambda: read_manifest(tmp_path / "ganlib_manifest.csv", []),
        tmp_path / "ganlib_manifest.csv",
    )


def test_cache_that_points_elsewhere_or_is_none_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("ganlib.data.decode.CACHE", tmp_path / "cache")
    cache = data_decode.Cache(SimpleNamespace(name="set", files={}), [], [], (2, 2))
    cache.folder.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(range(12)))
    for content in (
        "[" * 100_000,
        "[]",
        '{"arrays": []}',
        '{"arrays": {"A": ["x", []]}, "facts": {}, "notes": [], "digests": {}}',
        json.dumps(
            {
                "arrays": {"A": [str(tmp_path / "secret"), [1, 3, 2, 2]]},
                "facts": {},
                "notes": [],
                "digests": {},
            }
        ),
    ):
        (cache.folder / "cache.json").write_text(content)
        assert cache.read() is None


def test_script_in_a_data_set_of_the_hub_is_not_run_and_files_it_points_to_are_bounded(
    tmp_path, marker, monkeypatch
):
    datasets = pytest.importorskip(
        "datasets", reason="the optional package datasets is not installed"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub_cache")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/evil.py").write_text(f"import os\nos.system('touch {marker}')\n")
    refused(lambda: load_domains(f"hf:{tmp_path / 'evil'}", 24))
    os.mkfifo(tmp_path / "pipe")
    paths = ["/dev/zero", str(tmp_path / "pipe"), str(tmp_path), "/nowhere.png", None]
    cell = datasets.Features(
        {
            name: {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
            for name in "ab"
        }
    )
    rows = datasets.Dataset.from_dict(
        {name: [{"bytes": None, "path": path} for path in paths] for name in "ab"}, features=cell
    )
    table = rows.cast(datasets.Features({name: datasets.Image(decode=False) for name in "ab"}))
    # saved, it would have been asked for the files' sizes
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": table})
    source = data_sources.open_source("hf:somebody/points")
    for name in source.files:
        with pytest.raises(ValueError, match="no image in this row"):
            source.read(name)


IMPORTS = """
import pkgutil, sys
def refuse(event, arguments):
    names = "connect", "getaddrinfo", "gethostbyname", "sendto"
    if event in (*(f"socket.{name}" for name in names), "urllib.Request"):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(refuse)
import ganlib
names = [module.name for module in pkgutil.walk_packages(ganlib.__path__, "ganlib.")]
for name in names:
    __import__(name)
print(len(names))
"""


@pytest.mark.slow
def test_imports_talk_to_nobody_and_leave_nothing(tmp_path):
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    known = {path: path.stat().st_mtime_ns for path in (ROOT / "reports").iterdir()}
    home = {
        name: str(tmp_path / "home")
        for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        # Where matplotlib lists the fonts that there are
        env=os.environ | home | {"MPLCONFIGDIR": str(tmp_path / "mpl")},
    )
    assert done.returncode == 0 and done.stderr == "" and int(done.stdout) > 30, done.stderr
    assert [p for name in ("home", "here") for p in (tmp_path / name).rglob("*")] == []
    assert known == {path: path.stat().st_mtime_ns for path in (ROOT / "reports").iterdir()}


def listens(process):
    """The addresses that a process and its children listen on."""
    found = set()
    for each in [process, *process.children(recursive=True)]:
        # A child that has ended since, as the lab has some while it starts
        with suppress(psutil.NoSuchProcess):
            found |= {
                (c.laddr.ip, c.laddr.port)
                for c in each.net_connections("inet")
                if c.status == psutil.CONN_LISTEN
            }
    return found


def answer(url):
    """The status of a GET, and where it led."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            url, timeout=20
        ) as found:
            return found.status, found.geturl()
    except urllib.error.HTTPError as error:
        return error.code, url


@pytest.mark.slow
def test_lab_listens_on_localhost_asks_for_its_token_and_not_for_news(tmp_path):
    """With the arguments that make hands on, also as root."""
    made = subprocess.run(
        ["make", "-n", "--no-print-directory", "lab", "ARGS=--no-browser --port 0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    command = made.replace(".venv/bin/python", sys.executable).split()
    assert command == [sys.executable, "-m", "ganlib.lab", "--no-browser", "--port", "0"]
    folders = {
        f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")
    }
    with open(tmp_path / "log", "w") as log:
        lab = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env=os.environ | folders | {"GANLIB_HOME": str(tmp_path / "home")},
        )
    try:
        deadline, facts = time.monotonic() + 60, []
        while not facts and lab.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            facts = [
                json.loads(path.read_text())
                for path in tmp_path.glob("RUNTIME/jpserver-*.json")
                if path.stat().st_size
            ]
        assert facts, (tmp_path / "log").read_text()[-2000:]
        base, token = f"http://127.0.0.1:{facts[0]['port']}", facts[0]["token"]
        assert (
            len(token) >= 32
            and answer(f"{base}/api/contents")[0] == 403
            and answer(f"{base}/api/contents?token={token[:-1]}")[0] == 403
        )
        assert (
            answer(f"{base}/lab")[1].startswith(f"{base}/login")
            and answer(f"{base}/api/contents?token={token}")[0] == 200
        )
        assert listens(psutil.Process(lab.pid)) == {("127.0.0.1", facts[0]["port"])}
        # Nobody was asked
        assert (
            answer(f"{base}/lab/api/news?token={token}")[0] == 200
            and "Failed" not in (tmp_path / "log").read_text()
        )
        found = json.loads(
            urllib.request.urlopen(
                f"{base}/lab/api/settings/@jupyterlab/apputils-extension:notification?token={token}"
            ).read()
        )
        assert [
            found["schema"]["properties"][name]["default"]
            for name in ("fetchNews", "checkForUpdates")
        ] == ["false", False]
        served = json.loads(urllib.request.urlopen(f"{base}/api/contents?token={token}").read())[
            "content"
        ]
        assert {item["name"] for item in served} == {
            path.name for path in (ROOT / "notebooks").glob("*.ipynb")
        }
    finally:
        lab.terminate()
        lab.wait(60)


@pytest.mark.slow
def test_dask_listens_on_localhost_and_shows_no_dashboard():
    pytest.importorskip("distributed", reason="the optional package distributed is not installed")
    before = listens(psutil.Process())
    with connect("local") as client:
        known = client.scheduler_info()
        found = listens(psutil.Process()) - before
        services = [
            *known["services"].values(),
            *[port for worker in known["workers"].values() for port in worker["services"].values()],
        ]
        # Of their health, and no more
        shown = {answer(f"http://127.0.0.1:{port}/status")[0] for port in services}
    assert (
        found
        and {ip for ip, _ in found} == {"127.0.0.1"}
        and {port for _, port in found} >= set(services)
        and shown <= {404}
    )
