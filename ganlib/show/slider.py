"""A slider that wipes from pictures to their translations, and a button that takes a user's own:
widgets of JupyterLab. A page has neither, but the pictures that turn into their translation under
the mouse (show.swap)."""

from io import BytesIO

import ipywidgets
import torch
from IPython.display import display
from PIL import Image
from torch import Tensor

from ganlib.errors import one_line
from ganlib.evaluate.translate import to_bytes
from ganlib.show.swap import show_swap
from ganlib.use.pictures import decode_picture

SIDE = 128  # pixels on the screen of a picture
MOST = 8  # pictures that are taken at once


def show_slider(inputs: Tensor, outputs: Tensor) -> None:
    """Show pictures that turn into their translation under the mouse and, where widgets can be
    shown, the same with a slider: left of it each is its translation.

    inputs, outputs: (N, 3, H, W), uint8 or float in [-1, 1], as many of both, else InputError."""
    display(show_swap(inputs, outputs))  # checks them
    show_widget(make_slider(inputs, outputs), f"{len(inputs)} pictures and a slider")


def show_widget(widget: ipywidgets.Widget, words: str) -> None:
    """Show a widget; as text, which else would hold the bytes of its pictures, these words."""
    display(widget._repr_mimebundle_() | {"text/plain": words}, raw=True)


def make_slider(inputs: Tensor, outputs: Tensor) -> ipywidgets.VBox:
    """The widget of show_slider: an image, and a slider of 0 to 100."""
    before, after = to_bytes(inputs), to_bytes(outputs)
    height = f"{round(SIDE * before.shape[-2] / before.shape[-1])}px"
    picture = ipywidgets.Image(value=wipe(before, after, 50), format="png")
    picture.layout.width = f"{SIDE * len(before)}px"
    picture.layout.height = height
    picture.layout.object_fit = "fill"
    picture.layout.max_width = "100%"
    slider = ipywidgets.IntSlider(value=50, min=0, max=100, description="translated")
    slider.layout.width = "60%"

    def redraw(change):
        picture.value = wipe(before, after, change["new"])

    slider.observe(redraw, names="value")
    return ipywidgets.VBox([picture, slider])


def wipe(before: Tensor, after: Tensor, percent: int) -> bytes:
    """Pictures side by side, uint8 (N, 3, H, W) each; of each as much from the left is its
    translation. -> the bytes of a PNG."""
    edge = round(before.shape[-1] * percent / 100)
    mixed = before.clone()
    mixed[..., :edge] = after[..., :edge]
    sheet = mixed.permute(2, 0, 3, 1).flatten(1, 2)  # (H, N * W, 3)
    file = BytesIO()
    Image.fromarray(sheet.numpy()).save(file, "PNG")
    return file.getvalue()


def ask_pictures(translator, to: str) -> None:
    """Show a button that takes pictures from the user's own computer. Each is scaled and cropped to
    the size of the training, translated, and shown with a slider.

    translator: a use.translator.Translator; to: the domain to translate to."""
    other = translator.domains["ab".index(translator.side(to)) - 1]
    words = f"Pictures of {one_line(other)}"
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description=words)
    button.layout.width = "max-content"
    place = ipywidgets.Output()

    def take(change):
        place.clear_output(wait=True)
        with place:
            translate_uploads(translator, to, change["new"])

    button.observe(take, names="value")
    show_widget(ipywidgets.VBox([button, place]), "a button for pictures")


def translate_uploads(translator, to: str, uploads: tuple) -> None:
    """Translate what a FileUpload took, MOST of them, and show it; what is no picture is said."""
    read = []
    for upload in uploads[:MOST]:
        content = bytes(upload["content"])
        pixels = decode_picture(upload["name"], lambda _: content, translator.image_size)
        if pixels is not None:
            read.append(pixels)
    if len(uploads) > MOST:
        print(f"the first {MOST} of {len(uploads)}; `ganlib translate` takes whole folders")
    if read:
        images = torch.stack(read)
        show_slider(images, translator.translate(images, to))
