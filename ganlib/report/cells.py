"""What is changed in a notebook's cells before they become a page."""

import re
from base64 import b64decode
from io import BytesIO

from PIL import Image

SHORT = 80  # characters of a text that may stand in a page more than once
LONGEST = 200  # characters of a text that stands for an image
WIDE = 5  # columns of a table from which on it does not fit in half a sheet
DPI = 100  # dots of a figure that are an inch of the page
MIMES = ("image/png", "image/jpeg")


def describe_images(cells):
    """Give each image of the outputs, in its metadata, the text that stands for it where it is not
    seen (alt): what its cell prints, or how the text above it begins. And the width at which it is
    shown, where it has more dots an inch than the page."""
    heading, text = "", ""
    for cell in cells:
        if cell.cell_type == "markdown":
            before, *sections = re.split(r"(?m)^#+ ", cell.source)
            text = before
            if sections:
                heading, _, text = sections[-1].partition("\n")
            continue
        outputs = cell.get("outputs", [])
        printed = "".join(out.text for out in outputs if out.output_type == "stream").strip()
        for out in outputs:
            for mime in MIMES:
                if mime in out.get("data", {}):
                    known = out.setdefault("metadata", {}).setdefault(mime, {})
                    known.setdefault("alt", tell_image(heading, printed or text))
                    known.update(find_width(out.data[mime]))


def tell_image(heading, text):
    """One line about an image: where it stands, and the first sentence of a text about it."""
    plain = " ".join(re.sub(r"[*`]", "", text).split())
    first = re.split(r"(?<=[.?]) ", plain)[0][:LONGEST]
    return f"{heading.strip()}: {first}".strip(": ")


def find_width(data):
    """{"width": in pixels of the page} of an image in base64 that says how many dots an inch it
    has, if these are more than the page's."""
    try:
        image = Image.open(BytesIO(b64decode(data)))
    except (OSError, ValueError):  # a notebook may show anything
        return {}
    dpi = float(image.info.get("dpi", (DPI, DPI))[0])
    return {"width": round(image.width * DPI / dpi)} if dpi > 1.01 * DPI else {}


def mark_empty(cells):
    """Take tables in which no cell has a value from the outputs, and what is left of progress bars;
    in other tables a value that is missing is a dash, and those of many columns are marked, as on
    paper they do not fit in a column of text."""
    for cell in cells:
        kept = []
        for out in cell.get("outputs", []):
            data = out.get("data", {})
            if out.output_type == "display_data" and not data:
                continue
            values = re.findall(r"<td>(.*?)</td>", data.get("text/html", ""), re.DOTALL)
            if not values or set(values) - {"NaN", ""}:
                kept.append(out)
            if values:
                shown = data["text/html"].replace("<td>NaN</td>", "<td>–</td>")
                row = re.search(r"<tbody>\s*<tr>(.*?)</tr>", shown, re.DOTALL)
                if row and len(re.findall(r"<t[hd]\b", row[1])) > WIDE:
                    shown = shown.replace('class="dataframe"', 'class="dataframe wide"', 1)
                data["text/html"] = shown
        if cell.cell_type == "code":
            cell.outputs = kept


def take_front(cells, of):
    """Take from cells those that are tagged `front`, and return them; none where they have not all
    run to their end. of: what is put after their heading, of a second notebook in a page."""
    front = [cell for cell in cells if "front" in cell.metadata.get("tags", [])]
    for cell in front:
        kinds = [out.output_type for out in cell.get("outputs", [])]
        if cell.cell_type == "code" and (not kinds or "error" in kinds):
            return []
    for cell in front:
        cells.remove(cell)
        cell.metadata["in_front"] = True
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\A## (.*)", lambda found: f"# {found[1]}{of}", cell.source)
    return front


def leave_out(cells, told):
    """Take from cells the long texts that the page has already, as of a notebook that runs once
    more with other parameters; headings stay. told: those texts, to which these are added."""
    texts = [cell for cell in cells if cell.cell_type == "markdown"]
    for i, cell in enumerate(texts):
        lines = cell.source.splitlines()
        headings = [line for line in lines if re.match("#+ ", line)]
        text = "\n".join(line for line in lines if line not in headings).strip()
        if len(text) > SHORT and text in told:
            reason = ["*The texts of this notebook stand above, and are left out here.*"]
            cell.source = "\n\n".join(headings + reason * (i == 0))
        told.add(text)
