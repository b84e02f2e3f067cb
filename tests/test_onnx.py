"""A model in other formats: onnxruntime and torch.export give what the generator gives."""

import io
import json
import re
import sys

import numpy as np
import pytest
import torch
from test_use import picture, run, whole  # noqa: F401

import ganlib
from ganlib.config import TrainConfig
from ganlib.errors import InputError
from ganlib.models.build import build_generator
from ganlib.system.command import call
from ganlib.system.files import ROOT
from ganlib.use import export_command, formats
from ganlib.use.export import export

onnxruntime = pytest.importorskip("onnxruntime", reason="an optional extra: '.[onnx]'")


def generator(**kind):
    """A small generator whose weights are so large that every layer shows."""
    small = {"ngf": 4, "ndf": 4, "image_size": 32}
    net = build_generator(TrainConfig.from_recipe("default", **small | kind))
    torch.manual_seed(0)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, 0, 0.1)
    return net.eval()


COARSE = {"coarse_until": 0.5, "d_coarse": 0.5, "n_blocks": 1}


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "size"),
    [({"n_blocks": 1}, (20, 36)), ({"arch": "uvcgan"}, (28, 12)), (COARSE, (24, 40))],
)
def test_files_give_what_the_generator_gives(kind, size):
    """At a size and batch that neither the trace nor the check has seen."""
    net = generator(**kind)
    image = torch.rand(4, 3, *size) * 2 - 1
    session = onnxruntime.InferenceSession(formats.to_onnx(net, (32, 32), {"name": "x"}))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape) == ("image", ["N", 3, "H", "W"])
    assert (given.name, given.shape) == ("fake", ["N", 3, "H", "W"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["ganlib"]) == {"name": "x"}
    fake = session.run(None, {"image": image.numpy()})[0]
    assert np.abs(fake - net(image).numpy()).max() < 1e-4 and net(image).std() > 0.1
    content = formats.to_torch(net, (32, 32), {})
    assert torch.allclose(torch.export.load(io.BytesIO(content)).module()(image), net(image))


def test_positions_of_any_size_are_those_of_torch():
    for n in (*range(2, 40), 64, 117, 1024):
        assert torch.equal(formats.spread(n), torch.linspace(-1, 1, n))


@pytest.mark.slow
def test_file_that_differs_is_not_written(whole, tmp_path, monkeypatch):  # noqa: F811
    """As its network is another one when the file is checked; what is there stays whole."""
    path, _ = export(whole, tmp_path / "m")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    check = formats.check_same

    def other(option, call, net, size):
        net.head[1].weight += 0.01
        return check(option, call, net, size)

    monkeypatch.setattr(formats, "check_same", other)
    with pytest.raises(InputError, match="^--torch-export: what it made is up to .* nothing was"):
        export(whole, path, ["torch_export"])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_command_writes_both_formats_and_no_chatter(whole, tmp_path, capfd):  # noqa: F811
    out = tmp_path / "m"
    arguments = [str(whole), "--out", str(out), "--onnx", "--torch-export"]
    assert export_command.main(arguments) == 0
    said = capfd.readouterr()
    names = ["m-ab.onnx", "m-ba.onnx", "m-ab.pt2", "m-ba.pt2"]
    assert said.err == "" and re.findall(r"m-\S+(?=: 0\.\d MB)", said.out) == names
    assert len(said.out.splitlines()) == 5
    card = (tmp_path / "m.md").read_text()
    assert f"multiples of\n4: {', '.join(f'`{name}`' for name in names)}." in card
    for name in names:
        assert formats.read_told(tmp_path / name)["domains"] == ["anime", "selfie"]
        assert formats.read_told(tmp_path / name)["way"] == name[2:4]
    page = (ROOT / "docs/use.md").read_text()
    (snippet,) = re.findall(
        r"```python\n(import numpy as np\nimport onnxruntime.*?)```", page, re.S
    )
    picture(20, 24).save(tmp_path / "anime.png")
    for old, new in (("faces-ab", "m-ab"), ("anime.png", "anime.png"), ("selfie.png", "b.png")):
        assert old in snippet
        snippet = snippet.replace(f'"{old}', f'"{tmp_path}/{new}')
    made = {}
    exec(snippet, made)
    expected = np.asarray(ganlib.load(whole)(picture(20, 24), "B")).astype(int)
    assert np.abs(made["pixels"] - expected).max() <= 1
    assert (made["pixels"] != expected).mean() < 0.01
    for name in names[:2]:
        (tmp_path / name).unlink()
    export(whole, out, ["torch_export"])  # once more is no error


@pytest.mark.parametrize("name", ["m-ab.onnx", "m-ba.pt2"])
def test_another_file_is_never_written_over(run, tmp_path, name):  # noqa: F811
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: is there, and not this run"):
        export(run, tmp_path / "m", ["onnx", "torch_export"])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_missing_extra_is_told_in_one_line(run, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    arguments = [str(run), "--out", str(tmp_path / "m"), "--onnx"]
    assert call(lambda: export_command.main(arguments)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "pip install 'ganlib[onnx]'" in said[0]
    assert list(tmp_path.iterdir()) == []
