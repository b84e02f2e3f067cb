"""What becomes of a notebook's cells in the page of a report: what stands for an image, at which
size it is shown, tables without values, chapters that fold."""

import shutil
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from PIL import Image

from ganlib.errors import InputError
from ganlib.report import pdf
from ganlib.report.__main__ import main
from ganlib.report.cells import LONGEST, describe_images, mark_empty
from ganlib.report.page import render

ROOT = Path(__file__).parents[1]


def picture(mime="image/png", width=400, **info):
    """A display of a grey image."""
    file = BytesIO()
    Image.new("L", (width, 30)).save(file, mime.removeprefix("image/"), **info)
    data = {mime: b64encode(file.getvalue()).decode()}
    return nbformat.v4.new_output("display_data", data=data)


def code(*outputs):
    return nbformat.v4.new_code_cell("draw()", outputs=list(outputs))


def text(source):
    return nbformat.v4.new_markdown_cell(source)


def printed(said):
    return nbformat.v4.new_output("stream", text=said)


def table(*values):
    cells = "".join(f"<td>{value}</td>" for value in values)
    data = {"text/html": f"<table><tr><th>a</th>{cells}</tr></table>"}
    return nbformat.v4.new_output("display_data", data=data)


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg"])
@pytest.mark.parametrize(
    "cells, alt",
    [
        (["# A title\n\nOne **sentence**. Two."], "A title: One sentence."),
        (["## Before\n\nOld text.\n\n### Now\n\nWhat is\ndrawn. More."], "Now: What is drawn."),
        (["## Part\n\nText.", "More of `it`."], "Part: More of it."),
        (["No heading. Two."], "No heading."),
        ([], ""),
        (["## " + "long " * 100], None),
    ],
)
def test_image_is_described_by_the_text_above_it(cells, alt, mime):
    cells = [*map(text, cells), code(picture(mime))]
    describe_images(cells)
    said = cells[-1].outputs[0].metadata[mime]["alt"]
    assert said == alt or (alt is None and said.startswith("long long"))


def test_image_is_described_by_what_its_cell_prints():
    cells = [text("# Title\n\nText."), code(printed("3 faces of A. As drawn\n"), picture())]
    cells += [code(picture()), code(printed("x" * 999), picture())]
    cells[2].outputs[0].metadata["image/png"] = {"alt": "its own"}
    describe_images(cells)
    said = [cell.outputs[-1].metadata["image/png"]["alt"] for cell in cells[1:]]
    assert said == ["Title: 3 faces of A.", "its own", "Title: " + LONGEST * "x"]


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("dpi, width", [(None, None), (100, None), (200, 200), (72, None)])
def test_image_of_more_dots_an_inch_is_shown_at_the_size_of_others(mime, dpi, width):
    cell = code(picture(mime, **({"dpi": (dpi, dpi)} if dpi else {})))
    describe_images([cell])
    assert cell.outputs[0].metadata[mime].get("width") == width


def test_table_without_a_value_is_left_out_and_missing_values_are_dashes():
    bar = nbformat.v4.new_output("display_data")
    cell = code(table("NaN", "NaN", ""), bar, table("1.5", "NaN"), printed("NaN"), table())
    mark_empty([cell, text("text")])
    assert [out.output_type for out in cell.outputs] == ["display_data", "stream", "display_data"]
    shown = cell.outputs[0].data["text/html"]
    assert "1.5" in shown and "–" in shown and "NaN" not in shown
    assert cell.outputs[1].text == "NaN"


def test_table_that_does_not_fit_in_half_a_sheet_is_marked():
    tables = []
    for columns in (5, 6):
        html = pd.DataFrame([[0.5] * (columns - 1)]).to_html()  # and the index
        tables.append(nbformat.v4.new_output("display_data", data={"text/html": html}))
    cell = code(*tables)
    mark_empty([cell])
    assert ["wide" in out.data["text/html"] for out in cell.outputs] == [False, True]


def test_chapters_fold_and_the_front_does_not(tmp_path):
    front = {"tags": ["front"]}
    cells = [text("# Chapter\n\nIts text."), text("## Learned\n\nMuch."), code(printed("it is"))]
    cells[1].metadata = cells[2].metadata = nbformat.from_dict(front)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "04.ipynb")
    entry = {"name": "04", "title": None, "executed": tmp_path / "04.ipynb", "mark": ""}
    page = render([entry | {"runs": [], "seconds": 1, "parameters": {}}], "mine")
    front, chapter, colophon = page.split("<section")[1:]
    assert "Learned</h1>" in front and "it is" in front and "<details" not in front
    for part, heading in ((chapter, "Chapter"), (colophon, "Colophon")):
        assert f"{heading}</h1></summary>" in part and 'class="chapter" open' in part
        assert part.count("<h1") == 1 and part.count("<details") == part.count("</details>")
    assert '<label for="menu">' in page and page.count("prefers-color-scheme: dark") == 2


def test_what_failed_is_told_before_all_else(tmp_path):
    """Also on a phone, where the contents are a closed menu; an error of several once."""
    cells = [text("# Chapter\n\nIts text.")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "any.ipynb")
    entries = []
    for name, error in (("01", ""), ("02", "no <b>"), ("03", "no <b>"), ("04", "full")):
        entry = {"name": name, "title": None, "executed": tmp_path / "any.ipynb", "error": error}
        entry |= {"mark": "failed" if error else "", "runs": [], "seconds": 1, "parameters": {}}
        entries.append(entry)
    main = render(entries, "mine").partition("<main>")[2]
    told = '<div class="failure">3 of 4 notebooks failed.<br><a href="#02">02</a>, '
    assert main.startswith(
        told + '<a href="#03">03</a>: no &lt;b&gt;<br><a href="#04">04</a>: full'
    )
    assert "failure" not in render(entries[:1], "mine").partition("<main>")[2]


@pytest.mark.skipif(not any(map(shutil.which, pdf.BROWSERS)), reason="no Chromium on this machine")
def test_page_is_printed_by_chromium(tmp_path):
    page = tmp_path / "a page.html"
    page.write_text("<p>text</p><p style='break-before: page'>more</p>")
    made = pdf.write_pdf(page).read_bytes()
    assert made.startswith(b"%PDF") and made.count(b"/Type /Page\n") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a page.html", "a page.pdf"]


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, pdf.BROWSERS)), reason="no Chromium on this machine")
def test_whole_study_is_printed_on_twenty_pages(tmp_path):
    """The page that is committed, by the style of today."""
    page = (ROOT / "reports/examples/quick.html").read_text()
    style = (ROOT / "ganlib/report/report.css").read_text()
    theirs = page[page.index(":root {") : page.index("pre { line-height")]
    (tmp_path / "page.html").write_text(page.replace(theirs, style, 1))
    made = pdf.write_pdf(tmp_path / "page.html").read_bytes()
    assert 5 < made.count(b"/Type /Page\n") <= 20


def test_pdf_without_a_browser_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert main(["quick", "--pdf", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "--pdf: no Chromium found" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists() and said.out == ""


def test_browser_that_makes_nothing_is_told(tmp_path, monkeypatch):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\necho it broke >&2\n")
    fake.chmod(0o755)
    monkeypatch.setattr(pdf, "find_browser", lambda: str(fake))
    (tmp_path / "page.html").write_text("text")
    with pytest.raises(InputError, match="made no PDF .it broke."):
        pdf.write_pdf(tmp_path / "page.html")
    assert not (tmp_path / "page.pdf").exists()


@pytest.mark.parametrize("arguments", [[], ["quick", "--list"], ["--list", "--resume"]])
def test_report_asks_for_settings_or_for_the_list(arguments, capsys):
    assert main(arguments) == 2
    assert "expected SETTINGS, such as quick, or --list alone" in capsys.readouterr().err
