"""A model in one file: of a run, and of weights of the original authors' code."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_use import picture, pixels_of, run, whole  # noqa: F401
from torch import nn

import ganlib
from ganlib.config import TrainConfig
from ganlib.errors import InputError
from ganlib.models.build import build_discriminator, build_nets
from ganlib.models.ema import build_ema
from ganlib.runs.checkpoint import State
from ganlib.runs.parent import child_config, read_parent, start_from
from ganlib.system.command import call
from ganlib.use import export_command, import_command
from ganlib.use.export import export
from ganlib.use.importer import import_model


def test_file_translates_as_the_run_does_and_says_what_it_is(whole, tmp_path):  # noqa: F811
    path, card = export(whole, tmp_path / "new" / "my.model")
    assert path == tmp_path / "new/my.model.safetensors" and card.suffix == ".md"
    for to in "AB":
        of_run, of_file = [ganlib.load(source)(picture(21, 18), to) for source in (whole, path)]
        assert (pixels_of(of_run) == pixels_of(of_file)).all()
    assert ganlib.load(path)(picture(16, 16), "selfie").size == (16, 16)
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["ganlib"])
    metrics = json.loads((whole / "metrics.json").read_text())
    assert told["config"]["image_size"] == [16, 16] and told["domains"] == ["anime", "selfie"]
    assert told["scores"] == metrics["scores"]["ema"] and told["values"] == "byte / 127.5 - 1"
    said = card.read_text()
    value = metrics["scores"]["ema"]["kid_probe_a"]["value"]
    assert f"KID, probe of fake_a | {value:.2f}" in said
    assert 'ganlib.load("my.model.safetensors")' in said and "{" not in said
    export(whole, path)  # once more is no error


def test_another_file_is_never_written_over(run, tmp_path):  # noqa: F811
    for name in ("m.safetensors", "m.md"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name}"):
            export(run, tmp_path / "m")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    assert list(tmp_path.glob("*m*")) == []
    path, _ = export(run, tmp_path / "m")
    weights = load_file(path)
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["ganlib"])
    for change in ({"name": "another"}, {"fingerprint": "other images"}):
        save_file(weights, path, {"ganlib": json.dumps(told | change)})
        with pytest.raises(InputError, match="m.safetensors: is there, and not this run"):
            export(run, tmp_path / "m")
    del told["config"]["parent"]  # as an export of before there was that field
    save_file(weights, path, {"ganlib": json.dumps(told)})
    export(run, tmp_path / "m")
    for out in (".", "..", str(tmp_path)):
        with pytest.raises(InputError, match="a folder; expected the name of a new file"):
            export(run, out)


def test_file_has_the_name_of_the_run_where_none_is_given(run, monkeypatch):  # noqa: F811
    """Beside the run's own folder, too, which has that name."""
    monkeypatch.chdir(run.parent)
    path, _ = export(run.name)
    assert path.resolve() == run.with_name(f"{run.name}.safetensors").resolve()


def test_file_of_another_format_does_not_stay_beside_a_new_model(run, tmp_path):  # noqa: F811
    (tmp_path / "m-ba.onnx").write_text("of an earlier export")
    with pytest.raises(InputError, match="m-ba.onnx: of an earlier export, and would stay"):
        export(run, tmp_path / "m")
    assert [path.name for path in tmp_path.glob("m*")] == ["m-ba.onnx"]


@pytest.mark.parametrize(
    "harm",
    [
        "cut",
        "text",
        "other",
        "one domain",
        "integers",
        "nan",
        "no header",
        "scores",
        "pairs",
        "weights",
        "one discriminator",
        "arch",
        "config",
    ],
)
def test_file_that_is_no_model_is_told_in_one_line(run, tmp_path, harm):  # noqa: F811
    path, _ = export(run, tmp_path / "m")
    weights = load_file(path)
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["ganlib"])
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif harm == "text":
        path.write_text("a text")
    elif harm == "one domain":
        save_file(weights, path, {"ganlib": json.dumps(told | {"domains": ["a"]})})
    elif harm in ("integers", "nan"):
        first = next(iter(weights))
        weights[first] = weights[first].to(torch.int32 if harm == "integers" else torch.float32)
        weights[first][0] = 1 if harm == "integers" else float("nan")
        save_file(weights, path, {"ganlib": json.dumps(told)})
    elif harm in ("scores", "pairs"):
        told |= {"scores": {"kid_probe_a": 3}} if harm == "scores" else {"pairs": "many"}
        save_file(weights, path, {"ganlib": json.dumps(told)})
    elif harm == "no header":
        save_file(weights, path)
    elif harm == "weights":
        save_file(dict(list(weights.items())[1:]), path, {"ganlib": json.dumps(told)})
    elif harm == "one discriminator":
        judge = build_discriminator(TrainConfig.from_recipe(**told["config"]))
        weights |= {f"d_a.{name}": value for name, value in judge.state_dict().items()}
        save_file(weights, path, {"ganlib": json.dumps(told)})
    elif harm == "arch":
        told["config"]["arch"] = "stylegan"
        save_file(weights, path, {"ganlib": json.dumps(told)})
    elif harm == "config":
        save_file(weights, path, {"ganlib": json.dumps(told | {"config": 5})})
    else:
        save_file(weights, path, {"ganlib": "[1]"})
    with pytest.raises(InputError, match="m.safetensors: not a model") as caught:
        ganlib.load(path)
    assert "\n" not in str(caught.value)


class Block(nn.Module):
    """The published residual block: y = x + conv_block(x)."""

    def __init__(self, c, dropout, norm):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), norm(c)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), norm(c)]
        between = [nn.ReLU(True), *([nn.Dropout(0.5)] if dropout else [])]
        self.conv_block = nn.Sequential(*half, *between, *other)

    def forward(self, x):
        return x + self.conv_block(x)


class Original(nn.Module):
    """The published generator as the paper's appendix tells it, with the names that its checkpoints
    have: one `model` of all layers."""

    def __init__(self, ngf=4, n_blocks=9, dropout=False, norm=nn.InstanceNorm2d):
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), norm(ngf), nn.ReLU(True)]
        for c in (ngf, 2 * ngf):
            layers += [nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), norm(2 * c), nn.ReLU(True)]
        layers += [Block(4 * ngf, dropout, norm) for _ in range(n_blocks)]
        for c in (4 * ngf, 2 * ngf):
            up = nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, norm(c // 2), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


def save(net, path, prefix="", **how):
    torch.save({prefix + name: value for name, value in net.state_dict().items()}, path, **how)


@pytest.fixture
def others(tmp_path):
    """others(...): a folder of the original code with both generators, and these."""

    def write(prefix="", legacy=False, **kind):
        torch.manual_seed(0)
        nets = [Original(**kind).eval(), Original(**kind).eval()]
        folder = tmp_path / "horse2zebra"
        folder.mkdir()
        for letter, net in zip("AB", nets):
            for weight in net.parameters():
                nn.init.normal_(weight, 0, 0.1)
            path = folder / f"latest_net_G_{letter}.pth"
            save(net, path, prefix, _use_new_zipfile_serialization=not legacy)
        return folder, nets

    return write


@torch.no_grad()
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"n_blocks": 6, "ngf": 6},
        {"dropout": True, "legacy": True},
        {"prefix": "module."},
        {"norm": lambda c: nn.InstanceNorm2d(c, track_running_stats=True)},
    ],
)
def test_weights_of_the_original_code_give_what_they_gave(others, tmp_path, kind):
    """To the last bit. G_A is the way from A to B. (Old files have running statistics, which the
    code that wrote them did not use: they were of training mode.)"""
    folder, (net_a, net_b) = others(**kind)
    if "norm" in kind:
        net_a.train(), net_b.train()
    model = ganlib.load(import_model(folder, tmp_path / "imported", image_size=32), "cpu")
    assert model.image_size == (32, 32) and model.name == "horse2zebra"
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    assert torch.equal(model.nets["b"](x), net_a(x)) and torch.equal(model.nets["a"](x), net_b(x))
    assert model.nets["b"](x).std() > 0.01


def original_judge(ndf=4, n_layers=3, norm=nn.InstanceNorm2d, c_in=3):
    """The published discriminator of patches, with the names that its checkpoints have."""
    layers = [nn.Conv2d(c_in, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
    c = ndf
    for i in range(1, n_layers + 1):
        o = ndf * min(2**i, 8)
        layers += [nn.Conv2d(c, o, 4, stride=2 if i < n_layers else 1, padding=1)]
        layers += [norm(o), nn.LeakyReLU(0.2, True)]
        c = o
    net = nn.Module()
    net.model = nn.Sequential(*layers, nn.Conv2d(c, 1, 4, padding=1))
    return net


@torch.no_grad()
@pytest.mark.parametrize("kind", [{}, {"n_layers": 2, "ndf": 6}, {"prefix": "module."}])
def test_discriminators_of_the_original_code_judge_the_other_domain(others, tmp_path, kind):
    """To the last bit. D_A judges what G_A makes, images of B. A training goes on from them."""
    folder, _ = others()
    prefix = kind.pop("prefix", "")
    judges = original_judge(**kind), original_judge(**kind)
    for letter, net in zip("AB", judges):
        save(net, folder / f"latest_net_D_{letter}.pth", prefix)
    path = import_model(folder, tmp_path / "imported", image_size=32)
    parent = read_parent(path)
    nets = build_nets(child_config(parent, steps=2, decay_from=0.0), torch.device("cpu"))
    x = torch.rand(2, 3, 64, 48) * 2 - 1
    for name, net in (("d_b", judges[0]), ("d_a", judges[1])):
        mine = getattr(nets, name)
        mine.load_state_dict(parent.weights[name])
        assert torch.equal(mine(x), net.model(x)) and mine(x).std() > 1e-4
    assert ganlib.load(path, "cpu")(picture(20, 20)).size == (20, 20)


def test_training_that_asks_for_other_discriminators_draws_new_ones(others, tmp_path, capsys):
    folder, _ = others()
    for letter in "AB":
        save(original_judge(), folder / f"latest_net_D_{letter}.pth")
    path = import_model(folder, tmp_path / "imported", image_size=32)
    parent = read_parent(path)
    for change in ({}, {"d_norm": "spectral"}, {"ndf": 6}, {"d_coarse": 0.5, "d_layers": 2}):
        cfg = child_config(parent, steps=1, decay_from=0.0, **change)
        nets = build_nets(cfg, torch.device("cpu"))
        emas = [build_ema(net) for net in nets[:2]]
        before = [value.clone() for value in nets.d_b.state_dict().values()]
        start_from(path, State(nets, emas, [], [], (), None), cfg)
        same = all(map(torch.equal, before, nets.d_b.state_dict().values()))
        assert same == bool(change)
        assert ("new discriminators are drawn" in capsys.readouterr().err) == bool(change)
        theirs, mine = parent.weights["g_ab"], nets.g_ab.state_dict()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "harm, said",
    [
        (
            "missing",
            "latest_net_D_B.pth: no such file; expected EPOCH_net_D_A.pth and EPOCH_net_D_B",
        ),
        ("batch norm", "horse2zebra: expected a discriminator of patches"),
        ("not finite", "latest_net_D_A.pth: has weights that are not finite"),
        ("pixels", "horse2zebra: expected a discriminator of patches"),
        ("pairs of images", "weights of other shapes than expected; expected a discriminator"),
        ("other width", "weights of other shapes than expected; expected a discriminator"),
    ],
)
def test_discriminators_of_another_kind_are_left_out(others, tmp_path, capsys, harm, said):
    folder, _ = others()
    other = original_judge()
    if harm == "batch norm":
        other = original_judge(norm=nn.BatchNorm2d)
    elif harm == "pixels":
        other.model = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(3)])
    elif harm == "pairs of images":
        other = original_judge(c_in=6)
    elif harm == "not finite":
        nn.init.constant_(other.model[0].weight, float("nan"))
    save(other, folder / "latest_net_D_A.pth")
    if harm != "missing":
        save(original_judge(5) if harm == "other width" else other, folder / "latest_net_D_B.pth")
    path = import_model(folder, tmp_path / "imported", image_size=32)
    told = capsys.readouterr()
    told = told.out + told.err
    assert said in told and "left out" in told and told.count("\n") == 1
    assert set(read_parent(path).weights) == {"g_ab", "g_ba"}


@pytest.mark.parametrize(
    "harm, said",
    [
        ("missing", "latest_net_G_B.pth: no such file"),
        ("text", "latest_net_G_B.pth: no weights that can be read"),
        ("overflow", "latest_net_G_B.pth: has weights that are not finite"),
        ("code", "latest_net_G_B.pth: no weights that can be read"),
        ("batch norm", "weights of a batch norm"),
        ("unet", "3 convolutions; expected a generator of residual blocks"),
        ("other width", "G_A and G_B are not of one kind"),
        ("shapes", "weights of other shapes"),
        ("there", "is there; choose another name"),
    ],
)
def test_files_of_another_kind_are_told_in_one_line(others, tmp_path, harm, said):
    folder, (net, _) = others()
    path = folder / "latest_net_G_B.pth"
    if harm == "missing":
        path.unlink()
    elif harm == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1")
    elif harm == "code":
        torch.save(net, path)
    elif harm == "overflow":
        nn.init.constant_(net.double().model[1].weight, 1e300)
        save(net, path)
    elif harm == "batch norm":
        save(Original(norm=nn.BatchNorm2d), path)
    elif harm == "unet":
        save(nn.Sequential(*[nn.Conv2d(3, 3, 3) for _ in range(3)]), path)
    elif harm == "other width":
        save(Original(ngf=5), path)
    elif harm == "shapes":
        net.model[-2] = nn.Conv2d(4, 1, 7)
        for letter in "AB":
            save(net, folder / f"latest_net_G_{letter}.pth")
    else:
        (tmp_path / "imported.safetensors").write_text("mine")
    with pytest.raises(InputError, match=said) as caught:
        import_model(folder, tmp_path / "imported")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "imported.safetensors").exists() == (harm == "there")


def test_commands_write_files_that_translate(whole, others, tmp_path, capsys):  # noqa: F811
    assert export_command.main([str(whole), "--out", str(tmp_path / "mine")]) == 0
    assert "mine.md says what it is" in capsys.readouterr().out
    folder, _ = others()
    arguments = [str(folder), "--out", str(tmp_path / "theirs"), "--image-size", "32"]
    assert import_command.main(arguments) == 0
    for name in ("mine", "theirs"):
        assert ganlib.load(tmp_path / f"{name}.safetensors")(picture(20, 20)).size == (20, 20)
    assert call(lambda: import_command.main(arguments)) == 2
    (tmp_path / "theirs.safetensors").unlink()
    assert call(lambda: import_command.main([*arguments, "--epoch", "5"])) == 2
    assert "5_net_G_A.pth: no such file" in capsys.readouterr().err
    assert call(lambda: export_command.main([str(folder)])) == 2
