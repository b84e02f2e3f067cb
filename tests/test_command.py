"""Every command line: a reader that goes away, a terminal and files of another encoding, closed
and full outputs."""

import ast
import json
import os
import subprocess
import sys

import pytest

from ganlib import ROOT
from ganlib.data.splits import read_manifest
from ganlib.system.values import read_yaml

MODULES = sorted(
    path
    for path in ROOT.glob("ganlib/**/*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
LATIN = {
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "iso-8859-1",
}


def started(code, **streams):
    """The exit status of a command line whose main has this code, and what it told on stderr."""
    script = (
        "import sys\nfrom ganlib.system.command import call\ndef main():\n    "
        f"{code}\nsys.exit(call(main))"
    )
    return subprocess.run([sys.executable, "-c", script], **({"stderr": subprocess.PIPE} | streams))


def unread():
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    "code",
    [
        "print('a short one')",
        "print('long ' * 100_000)",
        "print('flushed', flush=True); return 0",
        "sys.exit(print('by argparse') or 0)",
        "print('told', file=sys.stderr, flush=True); print('and said')",
    ],
)
def test_reader_that_goes_away_ends_a_command_without_a_word(code):
    done = started(code, stdout=unread())
    assert (done.returncode, done.stderr.replace(b"told\n", b"")) == (141, b"")
    assert started(code, stdout=(both := unread()), stderr=both).returncode == 141


def test_whole_command_ends_so_too(tmp_path):
    command = [
        sys.executable,
        "-m",
        "ganlib.faces",
        tmp_path / "faces",
        "--size",
        "16",
        "--train-a",
        "1",
        "--train-b",
        "1",
        "--eval",
        "1",
    ]
    done = subprocess.run(command, stdout=unread(), stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"") and (
        tmp_path / "faces/attributes.csv"
    ).exists()


def test_other_ends_of_a_command_are_what_they_are():
    assert started("return 3", stdout=unread()).returncode == 3  # it had nothing to say
    assert started("sys.exit(2)").returncode == 2
    done = started("open('/no/such/file')", stdout=unread())
    assert done.returncode == 1 and b"FileNotFoundError" in done.stderr
    done = started("raise BrokenPipeError(32, 'of another pipe')", stdout=subprocess.PIPE)
    assert done.returncode == 1 and b"of another pipe" in done.stderr
    with open("/dev/full", "wb") as full:
        done = started("print('said')", stdout=full)
    assert (done.returncode, done.stderr) == (
        2,
        b"error: standard output: No space left on device\n",
    )
    done = started("print('said'); print('told', file=sys.stderr)", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"told\n")
    assert (
        done := started("raise KeyboardInterrupt")
    ).returncode == 130 and done.stderr == b"interrupted\n"


def test_every_command_line_begins_and_ends_by_the_same_function():
    assert len(MODULES) >= 6
    for path in MODULES:
        assert (
            "call(main)" in path.read_text(encoding="utf-8").split('__name__ == "__main__"')[1]
        ), path


def test_what_a_terminal_cannot_show_is_an_escape():
    for encoding, expected in (
        ("ascii", rb"\u2193 \xe9 \udce9"),
        ("iso-8859-1", b"\\u2193 \xe9 \\udce9"),
        ("utf-8", "↓ é \\udce9".encode()),
    ):
        done = started(
            r"print('\u2193 \xe9 \udce9'); print('\u2193 \xe9 \udce9', file=sys.stderr)",
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )
        assert done.stdout == done.stderr == expected + b"\n" and done.returncode == 0


def texts_of_code():
    """(name, code) of the package's modules and of the notebooks' cells."""
    for path in ROOT.glob("ganlib/**/*.py"):
        yield path.name, path.read_text(encoding="utf-8")
    for path in ROOT.glob("notebooks/*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield path.name, "".join(cell["source"])


def names_no_encoding(call):
    """Whether a call opens a text, or runs a process that gives texts, in the encoding of the
    locale."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    given = {keyword.arg for keyword in call.keywords}
    binary = any(
        isinstance(node, ast.Constant) and node.value in ("rb", "wb", "ab") for node in call.args
    )
    opens = (
        name in ("read_text", "write_text", "NamedTemporaryFile")
        or name == "open"
        and isinstance(call.func, ast.Name)
    )
    return (
        opens and not binary or bool(given & {"text", "universal_newlines"})
    ) and "encoding" not in given


def test_every_text_is_read_and_written_as_utf_8():
    found = []
    for name, code in texts_of_code():
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
        found += [f"{name}: {ast.unparse(call)}" for call in calls if names_no_encoding(call)]
    assert found == []
    for code, wrong in (
        ("open(x)", True),
        ("Path(x).read_text()", True),
        ("run(x, text=True)", True),
        ("open(x, 'rb')", False),
        ("open(x, encoding='utf-8')", False),
        ("Image.open(x)", False),
    ):
        assert names_no_encoding(ast.parse(code).body[0].value) == wrong, code


def test_files_that_windows_programs_wrote_read_the_same(tmp_path):
    """With a byte order mark and line ends of two characters."""
    (tmp_path / "mine.yaml").write_bytes("\ufefftitle: Zoë ↓\r\nsteps: [1]\r\n".encode())
    assert read_yaml(tmp_path / "mine.yaml") == {"title": "Zoë ↓", "steps": [1]}
    (tmp_path / "ganlib_manifest.csv").write_bytes(
        "\ufefffile,sha256,split\r\na/é.png,00,train\r\n".encode()
    )
    rows = read_manifest(tmp_path / "ganlib_manifest.csv", ["a/é.png"])
    assert list(rows) == ["a/é.png"] and rows["a/é.png"][:2] == ("00", "train")


def test_settings_are_utf_8_in_every_locale(tmp_path):
    (tmp_path / "mine.yaml").write_text("title: Zoë ↓", encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from ganlib.system.values import read_yaml; print(ascii(read_yaml('mine.yaml')))",
        ],
        cwd=tmp_path,
        env=os.environ | LATIN,
        capture_output=True,
    )
    assert done.stdout == rb"{'title': 'Zo\xeb \u2193'}" + b"\n", done.stderr
