"""Executed notebooks -> one HTML page that opens offline: contents, what was learned, sections with
folded code, colophon."""

import html
import json
import os
import platform
import re
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import nbformat
import pandas as pd
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from ganlib.device import default_device, device_name
from ganlib.errors import one_line
from ganlib.report.cells import describe_images, leave_out, mark_empty, take_front

CELLS = """{% extends "classic/base.html.j2" %}
{% block input_group %}{% if not cell.metadata.get("in_front") %}
<details class="code"><summary>{{
  "parameters" if "parameters" in cell.metadata.get("tags", []) else
  "parameters of this report" if "injected-parameters" in cell.metadata.get("tags", []) else "code"
}}</summary>{{ super() }}</details>{% endif %}{% endblock %}
{% block in_prompt %}{% endblock %}{% block output_area_prompt %}{% endblock %}"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">{marks}
<title>{title}</title><style>{css}</style></head>
<body><nav><input type="checkbox" id="menu"><label for="menu">Contents</label>
<ol>{contents}</ol></nav><main>{sections}</main></body></html>
"""
# In the page that an interrupted run left
INCOMPLETE = '<meta name="ganlib-report" content="incomplete">'
SUMMARY = "ganlib-summary"  # the tag that says what is in a page
TOLD = {
    "failed": "This notebook failed: {}",
    "interrupted": "This notebook was {}",
    "not run": "This notebook has not been run: {}",
}


def render(entries, title, incomplete=""):
    """The report as a text of HTML, from entries as `runner.execute` leaves them. incomplete: why,
    if not all that was to run has.

    Nothing in the page may run a script or load anything (its Content-Security-Policy); links
    wait to be clicked."""
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"cells.html.j2": CELLS})],
        template_file="cells.html.j2",
        exclude_anchor_links=True,
    )
    contents, told = [], set()
    sections = tell_failures(entries, incomplete)
    front, bodies = [], []
    for entry in entries:
        bodies.append((entry, notebook_body(entry, exporter, told, front)))
    if front:
        last, shown = front[-1]
        front[-1] = (last, shown + tell_trainings(entries))
    bodies = front + bodies
    bodies.append(({"name": "colophon", "mark": ""}, colophon(entries)))
    for entry, body in bodies:
        body = re.sub(
            r"<h([12])>(.*?)</h\1>",
            lambda found: f'<h{found[1]} id="{anchor(entry, found[2])}">{found[2]}</h{found[1]}>',
            body,
        )
        headings = re.findall(r'<h([12]) id="([^"]*)">(.*?)</h\1>', body, re.DOTALL)
        links = [f'<a href="#{place}">{text}</a>' for _, place, text in headings]
        mark = f' <span class="failed">{entry["mark"]}</span>' if entry["mark"] else ""
        inner = "".join(f"<li>{link}</li>" for link in links[1:])
        contents.append(
            f"<li>{links[0] if links else html.escape(entry['name'])}{mark}<ul>{inner}</ul></li>"
        )
        if not entry.get("front"):
            body = fold(body)
        sections.append(f'<section id="{html.escape(entry["name"])}">{body}</section>')
    return PAGE.format(
        title=f"ganlib: {html.escape(title)}",
        marks=(INCOMPLETE if incomplete else "") + mark_summary(entries),
        css=style(),
        contents="".join(contents),
        sections="".join(sections),
    )


def tell_failures(entries, incomplete):
    """What a reader has to know before all else of a report that is not whole: boxes of HTML."""
    boxes = []
    if incomplete:
        boxes.append(f"This report is incomplete: {html.escape(incomplete)}.")
    failed = [entry for entry in entries if entry["mark"] == "failed"]
    by_error = {}
    for entry in failed:
        name = html.escape(entry["name"])
        by_error.setdefault(entry["error"], []).append(f'<a href="#{name}">{name}</a>')
    if failed:
        lines = [f"{len(failed)} of {len(entries)} notebooks failed."]
        lines += [f"{', '.join(names)}: {html.escape(why)}" for why, names in by_error.items()]
        boxes.append("<br>".join(lines))
    return [f'<div class="failure">{text}</div>' for text in boxes]


def mark_summary(entries):
    """What report.index says of the page, as a tag in its head that holds JSON: notebooks and those
    that failed, and of each training its architecture, recipe, seed, pairs, data and KID."""
    trainings = []
    for run in read_runs(entries):
        scores = run.get("scores", {}).get("ema", {})
        kids = {}
        for name in ("kid_probe_a", "kid_probe_b"):
            kids[name] = scores[name]["value"] if name in scores else None
        known = {name: run[name] for name in ("arch", "recipe", "seed", "pairs")}
        trainings.append(known | kids | {"data": run["data"]["name"]})
    told = {
        "rendered": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M}",
        "notebooks": [entry["name"] for entry in entries],
        "failed": [entry["name"] for entry in entries if entry["mark"]],
        "trainings": trainings,
    }
    return f'<meta name="{SUMMARY}" content="{html.escape(json.dumps(told))}">'


def style():
    """The page's CSS, with the colours of code by day and by night."""
    css = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    day = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    night = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{css}{day}@media screen and (prefers-color-scheme: dark) {{{night}}}"


def fold(body):
    """A chapter that can be closed by a click on its heading, and is open at first."""
    heading = re.search(r"<h1.*?</h1>", body, re.DOTALL)
    if not heading:
        return body
    rest = body[: heading.start()] + body[heading.end() :]
    return f'<details class="chapter" open><summary>{heading[0]}</summary>{rest}</details>'


def anchor(entry, heading):
    """The id of a heading, unlike those of other notebooks."""
    return f"{html.escape(entry['name'])}-{re.sub(r'<[^>]*>|&[a-z]+;', '', heading)}".replace(
        " ", "-"
    ).replace("·-", "")


def notebook_body(entry, exporter, told, front):
    """One notebook as HTML, under the entry's title if it has one, what became of it told at the
    top if it did not end well. told: the texts that the page has already. front: what the page
    begins with, as (entry, HTML), to which its own is added."""
    try:
        notebook = nbformat.read(entry["executed"], as_version=4)
    # It was not run, or broke before anything was whole on disk: its title is all there is
    except (KeyError, OSError, ValueError):
        notebook = nbformat.read(entry["notebook"], as_version=4)
        notebook.cells = [cell for cell in notebook.cells[:1] if cell.cell_type == "markdown"]
    # papermill's own marks of an error; ours stands at the top, the traceback at its cell
    notebook.cells = [
        c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    if entry["title"] and notebook.cells:
        first = notebook.cells[0]
        first.source = re.sub(
            r"\A# .*", lambda _: f"# {html.escape(str(entry['title']), quote=False)}", first.source
        )
    of = html.escape(f": {entry['title'] or entry['name']}", quote=False)
    describe_images(notebook.cells)
    mark_empty(notebook.cells)
    learned = take_front(notebook.cells, of if front else "")
    if learned:
        leave_out(learned, told)
        shown = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=learned))[0]
        front.append(({"name": f"front-{entry['name']}", "mark": "", "front": True}, shown))
    leave_out(notebook.cells, told)
    body = exporter.from_notebook_node(notebook)[0]
    if entry["mark"]:
        failure = (
            f'<div class="failure">{TOLD[entry["mark"]].format(html.escape(entry["error"]))}</div>'
        )
        body = (
            re.sub(r"(</h1>)", lambda found: found[1] + failure, body, count=1)
            if "</h1>" in body
            else failure + body
        )
    return body


def read_runs(entries):
    """What metrics.json tells of each training of a report."""
    folders = dict.fromkeys([str(folder) for entry in entries for folder in entry["runs"]])
    return [run for run in map(read_metrics, folders) if run]


def tell_data(runs):
    """The data sets of some trainings, a sentence each."""
    data = {}
    for run in runs:
        of = run["data"]
        data[of["fingerprint"]] = (
            f"{of['name']}: A {of['domains'][0]}, B {of['domains'][1]}; train, val, test of A "
            f"{', '.join(map(str, of['counts'][0]))}, of B {', '.join(map(str, of['counts'][1]))}; "
            f"sha256 {of['fingerprint'][:12]}"
        )
    return "<br>".join([html.escape(one_line(text)) for text in data.values()])


def tell_trainings(entries):
    """What was trained, on what, how long and on what machine, as a paragraph of HTML."""
    runs = read_runs(entries)
    if not runs:
        return ""
    pairs = sorted({run["pairs"] for run in runs})
    seconds = sorted(run["wall_seconds"] for run in runs)
    devices = sorted({run["device"] for run in runs})
    many = f"{len(runs)} trainings" if len(runs) > 1 else "one training"
    each = ", each" if len(runs) > 1 else ""
    return (
        f'<p class="facts">Models from {many} of {span(pairs)} pairs{each} in {span(seconds)} '
        f"seconds, on {html.escape(one_line('; '.join(devices)))}. Data: {tell_data(runs)}. "
        '<a href="#colophon">More of it</a></p>'
    )


def span(numbers):
    """Sorted numbers in words: "20,000", or "360 to 1,440"."""
    return " to ".join(f"{number:,.0f}" for number in dict.fromkeys((numbers[0], numbers[-1])))


def colophon(entries):
    """What the report was made from and on, as HTML."""
    runs = read_runs(entries)
    trainings = [
        {
            "training": f"{run['arch']}, {run['recipe']}",
            "steps": run["steps"],
            "pairs": run["pairs"],
            "seed": run["seed"],
            "precision": run["precision"],
            "wall time, s": round(run["wall_seconds"]),
            "pairs per second": round(run["pairs_per_second"], 1),
            "memory of training, MiB": run.get("memory_mib"),
            "run folder": one_line(run["folder"]),
        }
        for run in runs
    ]
    minutes = sum(entry["seconds"] for entry in entries) / 60
    packages = (
        "ganlib",
        "torch",
        "torchvision",
        "numpy",
        "pandas",
        "pillow",
        "matplotlib",
        "papermill",
    )
    facts = {
        "data": tell_data(runs) or "no training in this report",
        "machine": html.escape(
            f"{device_name(default_device())}; {os.cpu_count()} processors; {platform.platform()}"
        ),
        "versions": f"Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in packages),
        "rendered": (
            f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, after {minutes:.1f} minutes of "
            "notebooks"
        ),
    }
    tables = [to_table(trainings), to_table([describe_entry(entry) for entry in entries])]
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    trainings = f"<h3>Trainings</h3>{tables[0]}"
    notebooks = f"<h3>Notebooks</h3>{tables[1]}"
    return f"<h1>Colophon</h1><dl>{listed}</dl>{trainings}{notebooks}"


def read_metrics(folder):
    """What a run's metrics.json tells, with the name of its folder; None where there is none
    that is whole."""
    try:
        return json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8")) | {
            "folder": Path(folder).name
        }
    except (OSError, ValueError, TypeError):
        return None


def to_table(rows):
    """Dicts of one thing a row as an HTML table, without columns that are empty; "" for none."""
    if not rows:
        return ""
    return pd.DataFrame(rows).dropna(axis=1, how="all").to_html(index=False, border=0)


def describe_entry(entry):
    """What the colophon says of a notebook."""
    given = ", ".join(f"{name} {value}" for name, value in entry["parameters"].items())
    return {
        "notebook": entry["name"],
        "seconds": round(entry["seconds"]),
        "parameters": given or "its defaults",
    }
