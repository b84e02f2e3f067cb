"""All reports and runs that there are: a table for a terminal, and reports/index.html."""

import html
import json
import re
import sys

import numpy as np
import pandas as pd
from tabulate import tabulate

from ganlib.errors import InputError, one_line
from ganlib.report.page import INCOMPLETE, SUMMARY, style
from ganlib.runs.kept import KEPT
from ganlib.runs.listing import list_runs, tell_state
from ganlib.system.files import ROOT, RUNS, write_atomic

REPORTS = ROOT / "reports"
EMPTY = "–"
NO_REPORT = "No report in reports/ yet: `ganlib report quick` makes one."
NONE = NO_REPORT, "No run yet: a report trains some."

INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>ganlib: reports and runs</title><style>{css}
body {{ display: block; }} th, td {{ text-align: left; }}</style></head>
<body><main><h1>Reports</h1>{reports}<h1>Runs</h1>{runs}
<p>KID: how far translations are from real images of their domain, mean over seeds; 0 is no
difference, and smaller is better.</p></main></body></html>
"""


def list_reports(folder=REPORTS):
    """What is known of each report below a folder, a dict each, the newest first."""
    found = [look_at(page) for page in folder.glob("*/report.html") if page.is_file()]
    return sorted(found, key=lambda row: row["rendered"], reverse=True)


def look_at(page):
    """What a page says of itself: its folder, when it was rendered, its models, data, pairs, KIDs
    and state, in words. A page of before it said so has none of it."""
    row = dict.fromkeys(("rendered", "models", "data", "pairs", "KID of fake_a", "KID of fake_b"))
    row = {"report": page.parent.name} | row | {"state": ""}
    try:
        head = page.read_text(encoding="utf-8", errors="replace").partition("</head>")[0]
        found = re.search(rf'<meta name="{SUMMARY}" content="([^"]*)">', head)
        told = json.loads(html.unescape(found[1]))
        known = {"rendered": f"{told['rendered']} UTC"}
        known["state"] = "incomplete" if INCOMPLETE in head else "whole"
        if told["failed"]:
            known["state"] = f"{', '.join(told['failed'])} failed"
        if told["trainings"]:
            known |= tell_models(pd.DataFrame(told["trainings"]))
    except (OSError, LookupError, TypeError, ValueError, AttributeError):
        return row | {"rendered": "", "state": "made by another ganlib"}
    return row | known


def tell_models(trainings):
    """Models, data, pairs and KIDs of the trainings of a report, in words: one part a model."""
    groups = trainings.groupby(["arch", "recipe"], sort=False)
    models, pairs = [], []
    for (arch, recipe), runs in groups:
        seeds = f" ({len(runs)} runs)" if len(runs) > 1 else ""
        models.append(f"{arch}, {recipe}{seeds}")
        pairs.append(" or ".join(f"{n:,}" for n in sorted(set(runs["pairs"]))))
    told = {"models": "; ".join(models), "pairs": "; ".join(pairs)}
    told["data"] = "; ".join(sorted(set(trainings["data"])))
    for domain in "ab":
        kids = groups[f"kid_probe_{domain}"].mean()
        told[f"KID of fake_{domain}"] = "; ".join(map(show_kid, kids))
    return told


def show_kid(kid):
    """A KID in words; a dash where it is not known."""
    return EMPTY if np.isnan(kid) else f"{kid:.2f}"


def describe_runs():
    """What is known of each run, in words, a dict each."""
    rows = []
    for row in list_runs([folder for folder in (RUNS, KEPT) if folder.is_dir()]):
        told = {"run": row["name"], "changed": row["changed"].replace("T", " ")}
        told |= {"architecture": row["arch"], "recipe": row["recipe"], "data": row["data"]}
        done = row["pairs_done"]
        told["pairs"] = None if done is None else f"{done:,} of {row['pairs']:,}"
        for domain in "ab":
            kid = row[f"kid_probe_{domain}"]
            told[f"KID of fake_{domain}"] = None if kid is None else f"{kid:.2f}"
        rows.append(told | {"state": tell_state(row)})
    return rows


def to_text(rows, none):
    """Dicts as a table for a terminal; none: what is said where there are none of them."""
    if not rows:
        return none
    shown = [{name: one_line(value or EMPTY) for name, value in row.items()} for row in rows]
    return tabulate(shown, headers="keys", disable_numparse=True)


def to_html(rows, none):
    """Dicts as a table of HTML, the name of a report as a link to it."""
    if not rows:
        return f"<p>{none}</p>"
    shown = []
    for row in rows:
        cells = {name: html.escape(one_line(value or EMPTY)) for name, value in row.items()}
        if "report" in row:
            place = html.escape(f"{row['report']}/report.html")
            cells["report"] = f'<a href="{place}">{cells["report"]}</a>'
        shown.append(cells)
    return pd.DataFrame(shown).to_html(index=False, border=0, escape=False)


def renew_index(folder=REPORTS):
    """Write index.html to the folder of the reports, as a report does that has ended: where it
    cannot be, a line says so."""
    try:
        write_index(folder, list_reports(folder), describe_runs())
    except (InputError, OSError) as error:
        print(f"warning: no index of the reports: {error}", file=sys.stderr)


def write_index(folder, reports, runs):
    """Write the reports and runs that were found as index.html; returns its path."""
    tables = {"reports": to_html(reports, NONE[0]), "runs": to_html(runs, NONE[1])}
    page = INDEX.format(css=style(), **tables)
    write_atomic(folder / "index.html", page.encode(errors="backslashreplace"))
    return folder / "index.html"
