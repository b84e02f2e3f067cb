"""What becomes of a notebook's cells in the page of a report: what stands for an image, at which
size it is shown, tables without values, chapters that fold."""

from base64 import b64encode
from io import BytesIO

import nbformat
import pytest
from PIL import Image

from ganlib.report.cells import LONGEST, describe_images, mark_empty
from ganlib.report.page import render


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
    cell = code(table("NaN", "NaN", ""), table("1.5", "NaN"), printed("NaN"), table())
    mark_empty([cell, text("text")])
    assert [out.output_type for out in cell.outputs] == ["display_data", "stream", "display_data"]
    shown = cell.outputs[0].data["text/html"]
    assert "1.5" in shown and "–" in shown and "NaN" not in shown
    assert cell.outputs[1].text == "NaN"


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
