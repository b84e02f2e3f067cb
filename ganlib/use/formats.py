"""The generators of a model in formats that other programs run: ONNX, and torch.export."""

import copy
import io
import json
import logging
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from ganlib.errors import InputError, printable
from ganlib.models.vit import FourierPositions
from ganlib.use.packed import HEADER

INSTALL = "pip install 'ganlib[onnx]'"
# How far a file may be from its network, of values in [-1, 1]: 1/26 of a level of 255. Measured:
# trained generators up to 6e-6, some of random weights, which amplify what is rounded, 5e-5.
BOUND = 3e-4
MOST_BYTES = 2**31 - 2**20  # of the weights in an ONNX file, which protobuf writes in one piece


class AnySizePositions(FourierPositions):
    """FourierPositions whose size stays open when it is traced: torch.linspace would fix it. The
    same to the last bit. (height, width), 2 or more each -> (height * width, features)."""

    def forward(self, height: int, width: int) -> Tensor:
        y, x = spread(height), spread(width)
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        return torch.sin(self.proj(grid.flatten(0, 1)))  # (H * W, features)


def spread(n: int) -> Tensor:
    """torch.linspace(-1, 1, n) as torch makes it: each half from its end, rounded once; (n,)."""
    i = torch.arange(n, dtype=torch.float64)
    step = (2 / (torch.ones(()) * (n - 1))).double()
    return torch.where(i < n // 2, -1 + step * i, 1 - step * (n - 1 - i)).float()


def to_onnx(net: nn.Module, size: tuple[int, int], told: dict) -> bytes:
    """A generator as an ONNX file: `image` (N, 3, H, W), float32 in [-1, 1] -> `fake`, the same; N,
    H and W are open, H and W as the generator takes them. size: of the images of its training.
    told: what is known of the model, kept in the file as JSON.

    InputError where onnx is not installed, and where onnxruntime makes of it another thing than
    torch (check_same)."""
    check_installed()
    import onnx
    import onnxruntime

    if 4 * sum(weight.numel() for weight in net.parameters()) > MOST_BYTES:
        raise InputError("--onnx: a generator of more than 2 GiB, which no ONNX file holds")
    net = prepare(net)
    with quiet():
        made = torch.onnx.export(
            trace(net), input_names=["image"], output_names=["fake"], dynamo=True, verbose=False
        )
    model = made.model_proto
    del model.graph.value_info[:]  # sizes on the way, by names that no one knows
    for value in (*model.graph.input, *model.graph.output):
        for place, name in ((0, "N"), (2, "H"), (3, "W")):
            value.type.tensor_type.shape.dim[place].dim_param = name
    onnx.helper.set_model_props(model, {HEADER: json.dumps(told)})
    content = model.SerializeToString()
    how = onnxruntime.SessionOptions()
    how.log_severity_level = 3
    how.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, how, providers=["CPUExecutionProvider"])

    def call(image):
        return torch.from_numpy(session.run(["fake"], {"image": image.numpy()})[0])

    check_same("--onnx", call, net, size)
    return content


def to_torch(net: nn.Module, size: tuple[int, int], told: dict) -> bytes:
    """A generator as a file of torch.export, sizes and told as in to_onnx; InputError where the
    file, loaded again, makes another thing than the network."""
    net = prepare(net)
    content = io.BytesIO()
    with quiet():
        torch.export.save(trace(net), content, extra_files={HEADER: json.dumps(told)})
        content.seek(0)
        call = torch.export.load(content).module()
    check_same("--torch-export", call, net, size)
    return content.getvalue()


# What each choice of the command writes: the ending, and how
FORMATS = {"onnx": (".onnx", to_onnx), "torch_export": (".pt2", to_torch)}


def check_installed() -> None:
    """InputError unless all is there that ONNX files are written and checked with."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"--onnx: {printable(error)}; {INSTALL} has what it needs") from None


def prepare(net: nn.Module) -> nn.Module:
    """A copy of a generator that can be traced: in float32, of any size."""
    net = copy.deepcopy(net).float().cpu().eval().requires_grad_(False)
    for module in net.modules():
        if type(module) is FourierPositions:
            module.__class__ = AnySizePositions
    return net


def trace(net: nn.Module) -> torch.export.ExportedProgram:
    """A generator as torch.export sees it, with batch, height and width open."""
    factor = 2 ** getattr(net, "n_down", 0)
    sizes = {0: Dim("n"), 2: factor * Dim("h", min=2), 3: factor * Dim("w", min=2)}
    image = torch.zeros(2, 3, 2 * factor, 3 * factor)
    return torch.export.export(net, (image,), dynamic_shapes=(sizes,))


@torch.no_grad()
def check_same(option: str, call, net: nn.Module, size: tuple[int, int]) -> float:
    """How far a file is from its network, on noise of another batch, height and width than it was
    traced at; InputError above BOUND."""
    factor = 2 ** getattr(net, "n_down", 0)
    noise = torch.Generator().manual_seed(0)
    shape = 3, 3, size[0] + factor, size[1] + 2 * factor
    image = torch.rand(shape, generator=noise) * 2 - 1
    far = (call(image) - net(image)).abs().max().item()
    if not far <= BOUND:
        raise InputError(
            f"{option}: what it made is up to {far:.1g} from the generator, and {BOUND:.0e} was "
            "expected; nothing was written"
        )
    return far


def read_told(path: Path) -> dict:
    """What a file of to_onnx or to_torch has been told; {} for any other."""
    try:
        if path.suffix == ".onnx":
            import onnx

            model = onnx.load(path, load_external_data=False)
            text = {entry.key: entry.value for entry in model.metadata_props}[HEADER]
        else:
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith(f"extra/{HEADER}"))
                text = archive.read(name)
        return dict(json.loads(text))
    except Exception:  # onnx raises what protobuf does
        return {}


@contextmanager
def quiet():
    """Keep what torch says of its own ways, warnings and log, off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
