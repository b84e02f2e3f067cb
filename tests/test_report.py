"""The report: its settings, a notebook that fails, and the page."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from ganlib import errors
from ganlib.report import runner as report_runner
from ganlib.report import settings as report_settings
from ganlib.report.__main__ import main
from ganlib.report.page import render

FINE = """# %% A page
value = 3
word = "one"
# --
from ganlib.show.progress import Progress
with Progress("a training", 10, "run") as progress:
    progress.update(7)
    import time; time.sleep(1.2)
print(f"{word}: {value * 2}")
# --
import matplotlib.pyplot as plt
plt.plot([1, 2]);
"""
BROKEN = """# %% A second page
value = 3
# --
def inner():
    raise KeyError("the broken cell")
inner()
# --
print("never reached")
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Two small notebooks and a settings file in place of the project's own."""
    for name, text in (("01_fine", FINE), ("02_broken", BROKEN)):
        title, *cells = [part.strip("\n") for part in re.split(r"^# --$", text, flags=re.M)]
        head, parameters = title.split("\n", 1)
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell(
                    head.replace("# %%", "#") + "\n\nText & more.\n\n## A part"
                ),
                nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            ]
            + [nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
            },
        )
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    monkeypatch.setattr("ganlib.report.settings.NOTEBOOKS", tmp_path)

    def settings(**content):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
        return [str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]

    return settings


@pytest.mark.slow
def test_report_of_notebooks_is_one_page_that_needs_nothing_else(bench, tmp_path, capsys):
    assert main(bench(common={"word": "two"}, notebooks=["01_fine"]) + ["-p", "value", "21"]) == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "two: 42" in page and "data:image/png;base64," in page and "Text &amp; more" in page
    assert (
        not re.findall(r'(?:src|href)="(?!#|data:|https://arxiv)[^"]*"', page)
        and "@import" not in page
        and "<script" not in page
    )
    assert page.count('<details class="code">') == 4 and page.count("<details") == page.count(
        "</details>"
    )
    assert 'href="#01_fine-A-part"' in page and 'id="01_fine-A-part"' in page and "Colophon" in page
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "01_fine.ipynb",
        "report.html",
        "steps.json",
    ]
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"report: {tmp_path / 'out/report.html'}"


def test_text_of_a_parameter_is_taken_as_it_is(bench):
    path = Path(bench(notebooks=["01_fine"])[0])
    for text in ("no", "my set #1.zip", "[x", "5"):
        assert report_settings.plan(path, {"word": text})[0]["parameters"]["word"] == text


def test_notebook_broken_off_while_it_was_written_is_still_reported(bench, tmp_path, monkeypatch):
    def broken(source, target, *rest, **more):
        Path(target).write_text('{"cells": [')
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(report_runner.papermill, "execute_notebook", broken)
    assert main(bench(notebooks=["01_fine"])) == 1
    page = (tmp_path / "out/report.html").read_text()
    assert (
        "This notebook failed: OSError: [Errno 5] Input/output error" in page
        and "A page</h1>" in page
    )
    assert not (tmp_path / "out/01_fine.ipynb").exists()  # half written, it takes nobody's place


@pytest.mark.slow
def test_notebook_that_fails_is_shown_and_the_rest_still_runs(bench, tmp_path, capsys):
    assert (
        main(bench(notebooks=["02_broken", {"notebook": "01_fine", "title": "A title of mine"}]))
        == 1
    )
    page = (tmp_path / "out/report.html").read_text()
    assert "This notebook failed: KeyError: &#x27;the broken cell&#x27;" in page
    assert (
        "Traceback" in page
        and "inner" in page
        and "one: 6" in page
        and "never reached"
        not in re.sub(r'<details class="code">.*?</details>', "", page, flags=re.S)
    )
    assert (
        '<a href="#02_broken-A-second-page">A second page</a> <span class="failed">failed</span>'
        in page
        and "A title of mine</h1>" in page
    )
    said = capsys.readouterr()
    assert (
        "error: 02_broken: KeyError: 'the broken cell'" in said.err
        and "02_broken failed: " in said.out
    )


@pytest.mark.parametrize(
    "content, extra, message",
    [
        (
            {"notebooks": ["01_fine"]},
            ["-p", "valeu", "4"],
            "-p: valeu: no notebook has this parameter (did you mean value?); there are "
            "value, word",
        ),
        (
            {"notebooks": ["01_fine"], "common": {"valeu": 4}},
            [],
            "mine.yaml: valeu: no notebook has this parameter (did you mean value?); there are "
            "value, word",
        ),
        (
            {"notebooks": [{"notebook": "02_broken", "parameters": {"word": "x"}}, "01_fine"]},
            [],
            "word: 02_broken has no such parameter; there are value",
        ),
        (
            {"notebooks": ["01_fine"]},
            ["-p", "value", "many"],
            "value 'many': expected a whole number",
        ),
        (
            {"notebooks": ["03_none"]},
            [],
            "notebook '03_none': no such notebook; there are 01_fine, 02_broken",
        ),
        ({"notebooks": ["01_fine", "01_fine"]}, [], "two notebooks are named 01_fine"),
        (
            {"notebooks": [{"notebok": "01_fine"}]},
            [],
            "notebok: expected notebook, name, title or parameters",
        ),
        ({"notebooks": ["01_fine"]}, ["-p", "value", "[x"], "value '[x': expected a whole number"),
        (
            {"notebooks": ["01_fine"]},
            ["-p", "value", "[1]"],
            "value '[1]': expected a whole number",
        ),
        (
            {"notebooks": [{"notebook": "01_fine", "parameters": {"value": 2}}]},
            ["-p", "value", "4"],
            "-p: value: mine.yaml sets it for single notebooks; change it in a copy of that file",
        ),
        ({"notebooks": [3]}, [], "as names with values"),
        ({"notebooks": ["01_fine"], "common": ["value"]}, [], "as names with values"),
        ({"notebooks": []}, [], "expected a key `notebooks`"),
        ({"common": {}}, [], "expected a key `notebooks`"),
    ],
)
def test_settings_that_cannot_be_used_are_told_in_one_line(
    bench, tmp_path, capsys, content, extra, message
):
    assert main(bench(**content) + extra) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_settings_file_that_is_not_there_or_no_yaml(tmp_path, capsys):
    assert main(["quikc"]) == 2
    assert capsys.readouterr().err == (
        "error: quikc: no such report settings; there are full, quick, seeds, short, study, "
        "or give the path of a YAML file\n"
    )
    (tmp_path / "odd.yaml").write_text("a: [1")
    assert main([str(tmp_path / "odd.yaml")]) == 2
    assert "odd.yaml: not a YAML file" in capsys.readouterr().err


def test_folder_that_cannot_be_written_is_named(bench, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(bench(notebooks=["01_fine"])[:1] + ["--out", str(tmp_path / "file/out")]) == 2
    assert re.fullmatch(
        r"error: .*/file/out: Not a directory; expected a folder that can be written\n",
        capsys.readouterr().err,
    )


def folder(path, *pairs):
    return report_settings.name_folder(Path(path), dict(pairs))


def test_folder_of_a_report_is_readable_where_that_tells_all(tmp_path, monkeypatch):
    monkeypatch.setattr("ganlib.report.settings.SETTINGS", tmp_path)
    quick = tmp_path / "quick.yaml"
    assert folder(quick) == "quick" and folder(quick, ("steps", "500")) == "quick-steps-500"
    assert (
        folder(quick, ("steps", "500"), ("seed", "-1"), ("lr", "5e-4"))
        == "quick-lr-5e-4-seed--1-steps-500"
    )
    assert folder(quick, ("seed", "1"), ("steps", "5")) == folder(
        quick, ("steps", "5"), ("seed", "1")
    )
    assert re.fullmatch(
        r"quick-data-faces\.zip-[0-9a-f]{8}", folder(quick, ("data", "some/faces.zip"))
    )
    assert re.fullmatch(r"mine-[0-9a-f]{8}", folder(tmp_path / "other/mine.yaml"))
    assert folder(quick, ("data", "builtin")) == "quick-data-builtin"


def test_folder_tells_all_values_settings_and_places_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("ganlib.report.settings.SETTINGS", tmp_path)
    quick, values = (
        tmp_path / "quick.yaml",
        [
            "default",
            "Default",
            "a/b",
            "c/b",
            "a b",
            "a_b",
            "a?b",
            "_a_b",
            "é",
            "e\u0301",
            "",
            "..",
            "1-b-2",
            "1.",
            "x" * 60,
            "x" * 61,
            "x" * 62,
            "x" * 60 + "y",
            "[0, 1]",
            "[0,1]",
            "~/b",
        ],
    )
    names = [folder(quick, ("recipe", value)) for value in values]
    names += [
        folder(quick, ("recipe", "1"), ("b", "2")),
        folder(quick, *((f"n{i}", "1" * 50) for i in range(9))),
        folder(quick, *((f"n{i}", "1" * 49 + str(i // 8)) for i in range(9))),
    ]
    names += [
        folder(tmp_path / place, *pairs)
        for place in ("x1/quick.yaml", "x2/quick.yaml")
        for pairs in ((), (("steps", "5"),))
    ]
    for place in ("x1", "x2"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        names += [folder(quick, ("data", "faces")), folder(quick, ("data", f"../{place}b/faces"))]
        # The same, so --resume finds it
        assert folder(quick, ("data", "faces")) == folder(
            quick, ("data", f"{tmp_path}/{place}/faces")
        )
    assert len({name.lower() for name in names}) == len(names) and max(map(len, names)) < 120


def test_report_of_other_values_does_not_replace_one(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        report_runner.papermill,
        "execute_notebook",
        lambda source, target, *_, **more: Path(target).write_bytes(Path(source).read_bytes()),
    )
    arguments = bench(notebooks=["01_fine"])
    assert main(arguments + ["-p", "value", "5"]) == 0
    assert main(arguments + ["-p", "value", "5"]) == 0  # the same once more
    page = (tmp_path / "out/report.html").read_bytes()
    capsys.readouterr()
    (tmp_path / "x2").mkdir()
    (tmp_path / "x2/mine.yaml").write_bytes((tmp_path / "mine.yaml").read_bytes())
    for other in (
        arguments,
        arguments + ["-p", "value", "6"],
        [str(tmp_path / "x2/mine.yaml"), *arguments[1:], "-p", "value", "5"],
    ):
        assert main(other) == 2
        assert capsys.readouterr().err == (
            f"error: {tmp_path}/out: holds a report of {tmp_path}/mine.yaml -p value 5; choose "
            "another folder by --out, "
            "or replace that report by --resume\n"
        )
    assert (tmp_path / "out/report.html").read_bytes() == page
    assert main(arguments + ["-p", "value", "6", "--resume"]) == 0
    assert "running again: parameters changed (value 5 -> 6)" in capsys.readouterr().out
    # Its own settings file, edited: told
    bench(notebooks=["01_fine"], common={"word": "two"})
    assert main(arguments + ["-p", "value", "6"]) == 0
    assert "replaces the one there: parameters changed (word one -> two)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page, holds",
    [("<title>ganlib: full</title>", "ganlib: full"), ("<p>my thesis", "another program")],
)
def test_page_of_which_nothing_else_is_known_is_not_replaced(bench, tmp_path, capsys, page, holds):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.html").write_text(page)
    assert main(bench(notebooks=["01_fine"])) == 2
    assert f"out: holds a report of {holds}; choose another folder" in capsys.readouterr().err
    assert (tmp_path / "out/report.html").read_text() == page


def test_real_notebooks_refuse_a_misspelt_parameter_before_anything_runs(capsys):
    assert main(["quick", "-p", "stpes", "3"]) == 2
    assert re.match(
        r"error: -p: stpes: no notebook has this parameter .did you mean steps..; .*\bsteps\b",
        capsys.readouterr().err,
    )


@pytest.mark.slow
def test_data_that_cannot_be_read_is_told_in_one_line_and_in_the_report(tmp_path):
    """What only reading shows; data that is not there is refused before (test_beforehand)."""
    names = ["01_data_analysis", "02_cyclegan", "03_uvcgan", "04_comparison"]  # all that read data
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"notebooks": names}))
    for domain in "ab":
        (tmp_path / "set" / domain).mkdir(parents=True)
        for i in range(40):
            (tmp_path / "set" / domain / f"{i}.png").write_text("no picture")
    command = [sys.executable, "-m", "ganlib.report", "mine.yaml", "-p", "data", "set"]
    done = subprocess.run(
        [*command, "--out", tmp_path / "out"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for name in names:
        assert f"error: {name}: InputError: data set" in done.stderr
    page = (tmp_path / "out/report.html").read_text()
    assert (
        "4 of 4 notebooks failed." in page
        and "InputError: data set" in page
        and "most recent call last" not in page
        and "Traceback:" not in page
    )


def wait_for(condition, seconds=30):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.1)


def started_on_bench(folder, arguments):
    # a job in the background starts with SIGINT ignored, and then Python leaves it so
    return [
        sys.executable,
        "-c",
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import sys; from "
        f"pathlib import Path; from ganlib.report import __main__ as report, settings; "
        f"settings.NOTEBOOKS = Path({str(folder)!r}); from ganlib.system.command import call; "
        f"report.leave(call(lambda: report.main({arguments!r})))",
    ]


def test_numbers_in_short_form_are_numbers(bench, tmp_path):
    notebook = nbformat.read(tmp_path / "01_fine.ipynb", 4)
    notebook.cells[1].source += "\nlr = 0.5"
    nbformat.write(notebook, tmp_path / "01_fine.ipynb")
    path = Path(bench(notebooks=["01_fine"])[0])
    assert report_settings.plan(path, {"lr": "5e-4"})[0]["parameters"]["lr"] == 5e-4
    with pytest.raises(errors.InputError, match="lr 'fast': expected a number"):
        report_settings.plan(path, {"lr": "fast"})


@pytest.mark.slow
def test_terminal_shows_what_runs_with_speed_and_time_left(bench, tmp_path):
    """On a real terminal, since the display is another one where output goes to a file."""
    command = started_on_bench(tmp_path, bench(notebooks=["01_fine"]))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command, stdout=slave, stderr=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "200"}
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += (chunk := os.read(master, 4096))
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
    assert process.wait() == 0
    assert re.search(
        rb"\[1/1\] 01_fine  a training:  70%\|.*7/10 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ steps/s\]",
        shown,
    )
    assert b"[1/1] 01_fine  done in" in shown


def test_notebook_that_runs_twice_tells_its_texts_once(tmp_path):
    """But for its headings and short sentences: the page of a report is read from top to bottom."""
    text = (
        "What we do here, and what we expect of it, told in one to three sentences that are long."
    )
    cells = [f"# A title\n\n{text} First.", f"## A part\n\n{text}", "A short sentence."]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_markdown_cell, cells)))
    nbformat.write(notebook, tmp_path / "01_fine.ipynb")
    entry = {"notebook": tmp_path / "01_fine.ipynb", "executed": tmp_path / "01_fine.ipynb"}
    entry |= {"mark": "", "error": None, "seconds": 1.0, "runs": [], "parameters": {}}
    twice = [
        entry | {"name": "01_fine", "title": None},
        entry | {"name": "again", "title": "B title"},
    ]
    page = render(twice, "mine")
    assert page.count(text) == 2 and page.count("A short sentence.") == 2
    assert page.count(">A part</h2>") == 2 and "B title</h1>" in page
    assert page.count("The texts of this notebook stand above") == 1


@pytest.mark.parametrize("ended", ["well", "before it", "in it"])
def test_page_begins_with_what_was_learned(tmp_path, ended):
    """What is tagged `front` comes first, without its code; of a notebook that broke off before it,
    or in it, it stays where it is."""
    front = {"tags": ["front"]}
    output = nbformat.v4.new_output
    outputs = {
        "well": [[output("stream", text="both are good")]] * 2,
        "before it": [[], []],
        "in it": [[output("stream", text="both are good")], [output("error", ename="E")]],
    }[ended]
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# First\n\nText."),
            nbformat.v4.new_markdown_cell("## What we learned\n\nWhich is better?", metadata=front),
            nbformat.v4.new_code_cell("tell()", metadata=front, outputs=outputs[0]),
            nbformat.v4.new_code_cell("draw()", metadata=front, outputs=outputs[1]),
        ]
    )
    nbformat.write(notebook, tmp_path / "04.ipynb")
    entry = {"name": "04", "title": None, "executed": tmp_path / "04.ipynb", "mark": ""}
    entry |= {"runs": [], "seconds": 1, "parameters": {}}
    second = entry | {"name": "05", "title": "Second & last <b>"}
    main = render([dict(entry), second], "mine").split("<main>")[1]
    headings = re.findall(r"<(h[12]) id=\"([^\"]*)\">", main)
    first = [("h1", "04-First")]
    others = [("h1", "05-Second--last-b"), ("h1", "colophon-Colophon")]
    if ended == "well":
        learned = [("h1", "front-04-What-we-learned")]
        learned += [("h1", "front-05-What-we-learned:-Second--last-b")]
        assert headings == [*learned, *first, *others]
        assert main.count("both are good") == 4 and "tell" not in main and "<b>" not in main
    else:
        of_second = others[:1] + [("h2", "05-What-we-learned")] + others[1:]
        assert headings == [*first, ("h2", "04-What-we-learned"), *of_second]
        assert main.count("tell") == 2
