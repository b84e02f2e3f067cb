"""What can be watched of a training: the faces that its folder keeps, and the picture in a
notebook."""

import nbformat
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient

from ganlib.data.domains import Pair, to_float
from ganlib.errors import InputError
from ganlib.runs.folder import clear
from ganlib.show.live import LiveTraining
from ganlib.show.strip import MOMENTS, MOST_SIDE, PART, STRIP, Strip, load_strip
from ganlib.show.training import draw_training, show_strip

EMPTY = pd.DataFrame({"split": [], "step": []})


def images(n, height=16, width=24, seed=0):
    """Bytes that are of no face, (n, 3, height, width)."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, height, width), dtype=torch.uint8, generator=draw)


def watch(folder, steps, epoch_steps, begun=0, ends=None):
    """The LiveTraining of a training whose fakes are of one grey a step."""
    pair = Pair(images(5), images(3, seed=1))
    live = LiveTraining(folder, pair, steps, epoch_steps)
    live.resume(begun)
    for step in range(begun, ends or steps + 1):
        if step % epoch_steps == 0 or step == steps:
            grey = torch.full((5, 3, 16, 24), step / 100 - 1)
            live.show(step, EMPTY, (grey, grey[:3]))
    return live


def test_strip_is_read_as_it_was_written(tmp_path):
    strip = Strip.of(Pair(images(5), images(3, seed=1)))
    strip.add(0, (images(5, seed=2), images(3, seed=3)))
    strip.add(7, (to_float(images(5, seed=4)), to_float(images(3, seed=5))))
    strip.save(tmp_path / STRIP)
    read = load_strip(tmp_path)
    assert (read.steps, read.n_a, len(read.real)) == ([0, 7], 4, 7)
    assert read.real.equal(torch.cat([images(5)[:4], images(3, seed=1)]))
    assert read.fakes[1].equal(torch.cat([images(5, seed=4)[:4], images(3, seed=5)]))
    figure = show_strip(read)
    assert [text.get_text() for text in figure.texts] == ["real", "step 0", "step 7"]


def test_large_faces_are_kept_small():
    strip = Strip.of(Pair(images(4, 100, 300), images(4, 100, 300)))
    assert strip.real.shape == (8, 3, round(MOST_SIDE / 3), MOST_SIDE)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_damaged_strip_is_told_and_a_run_without_one_has_none(tmp_path, content):
    assert load_strip(tmp_path) is None
    if content is None:  # cut off
        watch(tmp_path, 4, 2).finish()
        content = (tmp_path / STRIP).read_bytes()[:200]
    (tmp_path / STRIP).write_bytes(content)
    (tmp_path / PART).write_bytes(content)
    with pytest.raises(InputError, match="no strip of faces"):
        load_strip(tmp_path)
    assert watch(tmp_path, 4, 2, begun=2).strip.steps == [2, 4]


@pytest.mark.parametrize(
    "steps, epoch_steps", [(1, 1), (6, 2), (5, 2), (100, 3), (20_000, 1), (9, 50)]
)
def test_few_moments_are_kept_and_the_start_and_the_end_are_among_them(
    tmp_path, steps, epoch_steps
):
    kept = watch(tmp_path, steps, epoch_steps).strip.steps
    assert (kept[0], kept[-1]) == (0, steps) and len(kept) <= MOMENTS and kept == sorted(set(kept))
    assert len(kept) >= min(MOMENTS // 2, 1 + steps // epoch_steps)


def test_interrupted_training_keeps_the_same_faces(tmp_path):
    watch(tmp_path / "whole", 12, 2).finish()
    watch(tmp_path / "part", 12, 2, ends=9)  # the faces of step 8 are later than the checkpoint
    watch(tmp_path / "part", 12, 2, begun=7).finish()
    whole, part = [(tmp_path / name / STRIP).read_bytes() for name in ("whole", "part")]
    assert whole == part
    clear(tmp_path / "part", checkpoints=True)
    assert not (tmp_path / "part" / PART).exists()


def test_newest_faces_are_on_disk_while_it_trains_and_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("ganlib.show.live.WAIT", 0)
    watch(tmp_path, 100, 3, ends=14)
    assert load_strip(tmp_path, PART).steps == [0, 12]
    assert watch(tmp_path, 100, 3, begun=13, ends=14).strip.steps == [0]


def test_strip_of_other_images_is_not_taken_up(tmp_path):
    watch(tmp_path, 4, 2)
    other = LiveTraining(tmp_path, Pair(images(5, seed=8), images(3, seed=9)), 4, 2)
    other.resume(2)
    assert other.strip.steps == []


def test_picture_has_a_curve_of_what_there_is(tmp_path):
    strip = watch(tmp_path, 40, 2).strip
    steps = range(1, 251)
    history = pd.DataFrame({"split": "train", "step": steps, "cycle": 1.0, "d_a": 0.2, "d_b": None})
    figure = draw_training(history, [{"step": 9, "kid_a": 2.0, "kid_b": float("nan")}], strip, 300)
    curves = {panel.get_title(): panel.get_lines() for panel in figure.subfigs[0].axes}
    assert {
        title: [len(line.get_xdata()) for line in lines] for title, lines in curves.items()
    } == {
        "cycle loss": [84],
        "discriminators' losses": [84, 0],
        "KID on validation images": [0, 1],
    }
    labels = [text.get_text() for text in figure.subfigs[1].texts]
    assert labels == ["real", "step 0", "step 30", "step 36", "step 40"]
    start = draw_training(EMPTY, [], strip.until(-1), 300)
    assert start.get_size_inches().tolist() == figure.get_size_inches().tolist()


CELL = """
import os, tempfile
import pandas as pd, torch
from ganlib.data.domains import Pair
from ganlib.show.live import LiveTraining
{}
faces = torch.zeros(4, 3, 16, 16)
live = LiveTraining(tempfile.mkdtemp(), Pair(faces.byte(), faces.byte()), 4, 2)
for step in (0, 2, 4):
    live.show(step, pd.DataFrame({{"split": ["train"], "step": [step]}}), (faces, faces))
live.finish()
"""


@pytest.mark.slow
def test_notebook_has_one_picture_in_its_place_and_none_in_the_end():
    feed = "os.environ['GANLIB_PROGRESS'] = os.devnull"
    sources = [CELL.format(""), CELL.format("") + "live.close()", CELL.format(feed)]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
    NotebookClient(notebook, kernel_name="python3").execute()
    shown = [[list(output.data) for output in cell.outputs] for cell in notebook.cells]
    assert shown == [[["image/jpeg"]], [[]], []]
