"""Pictures that show their translation where one points at them: HTML without a script."""

from base64 import b64encode
from io import BytesIO

from IPython.display import HTML
from PIL import Image

from ganlib.data.domains import check_images
from ganlib.errors import InputError
from ganlib.evaluate.translate import to_bytes

SIDE = 84  # pixels of the page for a picture
STYLE = """<style>
.swaps { display: flex; flex-wrap: wrap; gap: 6px; margin: .4rem 0; }
.swap { position: relative; width: SIDEpx; cursor: pointer; }
.swap img { width: 100%; margin: 0; border-radius: 4px; }
.swap img + img { position: absolute; inset: 0; opacity: 0; transition: opacity .25s; }
.swap:hover img + img, .swap:focus img + img { opacity: 1; }
@media print { .swap img + img { position: static; opacity: 1; } }
</style>""".replace("SIDE", str(SIDE))


def show_swap(inputs, outputs):
    """Pictures, each of which turns into another one where the mouse is over it, and where it is
    touched or reached by the Tab key. Printed, it is two pictures, one below the other.

    inputs, outputs: (N, 3, H, W), uint8 or float in [-1, 1], as many of both, else InputError.
    -> IPython's HTML."""
    check_images(inputs, "inputs")
    check_images(outputs, "outputs")
    if len(inputs) != len(outputs):
        raise InputError(
            f"{len(inputs)} inputs and {len(outputs)} outputs: expected one output an input"
        )
    shown = []
    for i, (before, after) in enumerate(zip(to_bytes(inputs), to_bytes(outputs)), 1):
        shown.append(
            f'<div class="swap" tabindex="0">{to_tag(before, f"input {i}")}'
            f"{to_tag(after, f'translation of input {i}')}</div>"
        )
    return HTML(f'{STYLE}<div class="swaps">{"".join(shown)}</div>')


def to_tag(image, alt):
    """A uint8 image (3, H, W) as a tag of HTML that holds it, as JPEG."""
    file = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=85)
    data = b64encode(file.getvalue()).decode()
    return f'<img alt="{alt}" src="data:image/jpeg;base64,{data}">'
