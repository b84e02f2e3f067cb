"""Notebook 06: pictures of a user, and the widgets that show them."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.errors import InputError
from ganlib.show import slider
from ganlib.use.pictures import read_pictures


class Inverse:
    """What ask_pictures needs of a translator: white becomes black."""

    image_size = (16, 16)
    domains = ("anime", "selfie")

    def side(self, to):
        return to.lower()

    def translate(self, images, to):
        return 255 - images


def png(colour, size=(20, 16)):
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def test_pictures_of_a_folder_are_read_by_name_and_what_is_none_is_said(tmp_path, capsys):
    (tmp_path / "b.png").write_bytes(png("white"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/c.png").write_bytes(png("red", (40, 90)))
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/z.png").write_bytes(png("blue"))
    read = read_pictures(tmp_path, (16, 24))
    assert read.shape == (2, 3, 16, 24) and read.dtype == torch.uint8
    assert read[0].min() == 255 and read[1, 0].min() == 255 and read[1, 1].max() == 0
    told = capsys.readouterr().err
    assert told.startswith("a.png: no image") and told.endswith("; left out\n")
    assert len(read_pictures(tmp_path, (16, 24), most=1)) == 1
    assert len(read_pictures(tmp_path / "b.png", (16, 24))) == 1


def test_no_pictures_end_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture there that can be read"):
        read_pictures(tmp_path / "empty", (16, 16))
    with pytest.raises(InputError, match="not found; expected a folder of pictures"):
        read_pictures(tmp_path / "nothing", (16, 16))


def look(content):
    """The bytes of a PNG as pixels (H, W, 3)."""
    return np.asarray(Image.open(BytesIO(content)))


def test_slider_wipes_each_picture_from_the_left():
    before = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    after = torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)
    view = slider.make_slider(before, after)
    picture, handle = view.children
    for percent, wide in ((0, 0), (25, 2), (100, 8)):
        handle.value = percent
        row = look(picture.value)[0, :, 0]
        assert (row == 200).tolist() == ([True] * wide + [False] * (8 - wide)) * 2


def test_what_has_no_widgets_shows_pictures_and_no_bytes_as_text(monkeypatch):
    shown = []
    monkeypatch.setattr(slider, "display", lambda what, raw=False: shown.append(what))
    slider.show_slider(torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8))
    slider.ask_pictures(Inverse(), "B")
    still, pictures, button = shown
    assert still.data.count("<img ") == 4
    assert pictures["text/plain"] == "2 pictures and a slider"
    assert button["text/plain"] == "a button for pictures"
    assert all("application/vnd.jupyter.widget-view+json" in bundle for bundle in shown[1:])


def test_uploads_are_translated_and_what_is_none_is_said(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(slider, "show_slider", lambda *both: shown.append(both))
    uploads = [{"name": f"{i}.png", "content": memoryview(png("white"))} for i in range(9)]
    uploads[3]["content"] = memoryview(b"")
    slider.translate_uploads(Inverse(), "B", tuple(uploads))
    ((before, after),) = shown
    assert before.shape == (7, 3, 16, 16) and before.min() == 255 and after.max() == 0
    said = capsys.readouterr()
    assert "3.png: empty; left out" in said.err and "the first 8 of 9" in said.out
    slider.translate_uploads(Inverse(), "B", ({"name": "x", "content": memoryview(b"x")},))
    assert len(shown) == 1
