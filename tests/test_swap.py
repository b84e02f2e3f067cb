"""Pictures that turn into their translation."""

from base64 import b64decode
from io import BytesIO

import pytest
import torch
from PIL import Image

from ganlib.errors import InputError
from ganlib.show.swap import show_swap


def test_each_input_lies_under_its_own_output():
    levels = torch.tensor([0, 120, 250], dtype=torch.uint8)
    inputs = levels[:, None, None, None].expand(3, 3, 16, 24)
    outputs = (250 - inputs.float()) / 127.5 - 1
    page = show_swap(inputs, outputs).data
    shown = []
    for tag in page.split("<img ")[1:]:
        data = b64decode(tag.split("base64,")[1].split('"')[0])
        image = Image.open(BytesIO(data))
        assert image.size == (24, 16)
        shown.append((tag.split('"')[1], round(image.getpixel((5, 5))[0], -1)))
    assert shown == [
        ("input 1", 0),
        ("translation of input 1", 250),
        ("input 2", 120),
        ("translation of input 2", 130),
        ("input 3", 250),
        ("translation of input 3", 0),
    ]
    assert "<script" not in page and page.count('tabindex="0"') == 3


def test_pictures_without_a_partner_are_refused():
    with pytest.raises(InputError, match="2 inputs and 1 outputs"):
        show_swap(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="outputs"):
        show_swap(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 7.0))
