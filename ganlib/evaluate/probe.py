"""The probe: a small network that measures images, trained on the real training images of the data
set at hand, never on anything that a generator made.

What it learns depends on what is known of the images:
- built-in faces come with the attributes that they were drawn from: it learns to *read attributes*;
- of other images nothing is known but the domain, and what tells the domains apart is style alone.
  So it learns to *match views*: which two crops, mirrored and in other colours, are of one image
  among the others of its domain (SimCLR: Chen et al. 2020, arXiv 2002.05709, section 2). That needs
  what is in the picture, and style does not help. Views are not blurred or scaled, so that the
  probe still sees these faults of translations.
How well each knows a face in the other domain, measured on built-in faces (the true counterpart is
nearer than a stranger in so many of the cases): attributes 99 %, views 70 %; 50 % is chance.

Trained once for a data set and kept in reports/cache: the same images give the same probe on the
same processor and torch. Those of the built-in faces of reports/quick.yaml and reports/study.yaml
come with ganlib (reports/probes): so scores compare between machines, too."""

import hashlib
import io
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ganlib.data.domains import check_images, to_float
from ganlib.errors import InputError
from ganlib.faces.records import ANIME_SPECS, SELFIE_SPECS, SHARED_SPECS
from ganlib.runs.signals import Stop
from ganlib.show.progress import Progress
from ganlib.system.files import CACHE, SETTINGS, write_atomic

PROBE_VERSION = 1  # of what follows: a probe of another version is trained anew
WIDTHS = (32, 64, 128, 128)
EMBEDDING = 128
CODE = 64
# steps: half the number of training images, within these
BATCH, RATE, LEAST_STEPS, MOST_STEPS = 64, 2e-3, 200, 1200
# Training images, at most twice as many, that the features' scale is taken from
SCALED_BY = 4000
# Agreement on real validation images of both domains from which on an attribute counts
READABLE = 0.3
# Attributes that change sign in a mirror
MIRRORED = ("turn", "tilt", "gaze_x", "part", "light_x")


class ProbeNet(nn.Module):
    """Four stride-2 convolutions, an embedding and a head: x (B, 3, H, W) in [-1, 1], any size
    -> (B, n_out)."""

    def __init__(self, n_out):
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(o),
                    nn.ReLU(),
                )
                for i, o in zip((3, *WIDTHS), WIDTHS)
            ]
        )
        self.embed = nn.Sequential(nn.Linear(WIDTHS[-1] * 16, EMBEDDING), nn.ReLU())
        self.head = nn.Linear(EMBEDDING, n_out)

    def maps(self, x):
        """What each block gives: a list of (B, c, H / 2, W / 2), (B, c, H / 4, W / 4), ..."""
        return [x := block(x) for block in self.blocks]

    def embedding(self, maps):
        """(B, EMBEDDING) from the maps of a batch; the last one in a grid of 4x4, so that it is
        known what is where."""
        return self.embed(F.adaptive_avg_pool2d(maps[-1], 4).flatten(1))

    def forward(self, x):
        return self.head(self.embedding(self.maps(x)))


class Column(NamedTuple):
    """An attribute among the outputs of the head: those from start on; names for one of several,
    else a number."""

    name: str
    start: int
    names: list
    mean: float
    deviation: float


class Probe:
    """A trained probe: features for realism, distances for faithfulness, attributes of built-in
    faces. See train_probe."""

    def __init__(self, state, device="cpu"):
        self.columns = [Column(*column) for column in state["columns"]]
        self.objective = state["objective"]
        self.device = device
        # {attribute: agreement on real validation images}, those above READABLE
        self.readable = state["readable"]
        # Draws no weights, and so nothing from the generator of a training that follows
        with torch.device("meta"):
            self.net = ProbeNet(state["weights"]["head.bias"].numel())
        self.net.load_state_dict(state["weights"], assign=True)
        # One left in training mode would mix the images of a batch
        self.net.eval().requires_grad_(False).to(device)
        self.mean = state["mean"].to(device)
        self.deviation = state["deviation"].to(device)
        known = b"".join(
            x.numpy().tobytes()
            for x in (*state["weights"].values(), state["mean"], state["deviation"])
        )
        self.hash = hashlib.sha256(known + repr(state["readable"]).encode()).hexdigest()[:16]

    @torch.no_grad()
    def look(self, images, batch_size=256):
        """(features (N, 480), contents (N, k)) of images, uint8 (N, 3, H, W) or float in [-1, 1],
        on the CPU.

        Features, for realism, are the means of all maps and the embedding, each of deviation 1
        over the real training images (asinh keeps those of broken images from outweighing all
        else). Contents, for faithfulness: the attributes that it reads well, or the code that it
        matches views by."""
        features, contents = [], []
        check_images(images)
        with Progress("looking at images by the probe", len(images), unit="images") as progress:
            for batch in images.split(batch_size):
                maps = self.net.maps(to_float(batch.to(self.device)))
                embedding = self.net.embedding(maps)
                features.append(torch.cat([m.mean((2, 3)) for m in maps] + [embedding], dim=1))
                contents.append(self.content(self.net.head(embedding)))
                progress.add(len(batch))
        return torch.asinh((torch.cat(features) - self.mean) / self.deviation).cpu(), torch.cat(
            contents
        ).cpu()

    def content(self, out):
        """What of the head's output (B, n_out) says what is in the picture, whatever its domain."""
        if not self.columns:
            return F.normalize(out)
        known = [c for c in self.columns if c.name in (self.readable or SHARED_SPECS)]
        return torch.cat(
            [
                out[:, c.start : c.start + len(c.names)].softmax(1)
                if c.names
                else out[:, c.start : c.start + 1]
                for c in known
            ],
            dim=1,
        )

    @torch.no_grad()
    def perceptual(self, x, y, batch_size=256):
        """Perceptual distance of x[i] to y[i], (N,): squared difference of the maps, each place
        scaled to length 1, averaged over places and blocks (the form of LPIPS: Zhang et al.
        2018, 1801.03924, section 3, without learned weights)."""
        out = []
        with Progress("comparing images with the truth", len(x), unit="images") as progress:
            for a, b in zip(x.split(batch_size), y.split(batch_size)):
                pairs = zip(*[self.net.maps(to_float(side.to(self.device))) for side in (a, b)])
                out.append(
                    torch.stack(
                        [
                            (F.normalize(m) - F.normalize(n)).square().sum(1).mean((1, 2))
                            for m, n in pairs
                        ]
                    ).mean(0)
                )
                progress.add(len(a))
        return torch.cat(out).cpu()

    @torch.no_grad()
    def read(self, images, batch_size=256):
        """The shared attributes that it reads off images, as a DataFrame of N rows; InputError
        if it was not taught any."""
        if not self.columns:
            raise InputError(
                "attributes: this probe has learned to match views, and reads none; only built-in "
                "faces have some"
            )
        out = (
            torch.cat(
                [self.net(to_float(batch.to(self.device))) for batch in images.split(batch_size)]
            )
            .cpu()
            .numpy()
        )
        return pd.DataFrame(
            {
                c.name: np.array(c.names)[out[:, c.start : c.start + len(c.names)].argmax(1)]
                if c.names
                else out[:, c.start] * c.deviation + c.mean
                for c in self.columns
                if c.name in SHARED_SPECS
            }
        )


def agreement(read, true):
    """How well read attributes agree with the true ones, beyond chance: a DataFrame like read, 1
    - |difference| / expected difference. Column means are Cohen's kappa (1968, weighted by the
    difference): 1 where all agree, 0 where read says nothing of the image. Names differ by 1.
    NaN where neither varies."""
    out = {}
    for name in read:
        r, t = [np.asarray(table[name].tolist()) for table in (read, true)]
        difference = (
            (lambda x, y: (x != y).astype(float))
            if r.dtype.kind in "bUO"
            else lambda x, y: np.abs(x - y)
        )
        expected = difference(r[:, None], t[None]).mean()
        out[name] = 1 - difference(r, t) / expected if expected > 0 else np.full(len(r), np.nan)
    return pd.DataFrame(out)


def find_probe(images, device="cpu"):
    """The Probe of a data set (a Domains): one that comes with ganlib (reports/probes) or lies in
    reports/cache, or one that is trained now (on the CPU, to be the same on each call) and kept
    there."""
    images = images.settled()
    objective = "attributes" if images.attributes else "views"
    name = f"probe-{PROBE_VERSION}-{objective}-{images.fingerprint[:16]}.pt"
    path = CACHE / name
    for known in (SETTINGS / "probes" / name, path):
        # None there, or one that was damaged: torch raises nearly anything
        with suppress(Exception):
            return Probe(torch.load(known, weights_only=True), device)
    state = train_probe(images)
    content = io.BytesIO()
    torch.save(state, content)
    write_atomic(path, content.getvalue())
    return Probe(state, device)


def train_probe(images, seed=0):
    """Train a probe on the real training images of both domains; returns its state, a dict of plain
    values and tensors.

    The same images and seed give the same state on the same processor and torch, whatever the
    number of threads; torch's global generator is left as it was."""
    with two_threads():
        return train_state(images, seed)


@contextmanager
def two_threads():
    """Two threads for torch, whatever there are: sums in another order round otherwise, and
    training carries that on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_state(images, seed):
    """What train_probe returns."""
    n = len(images.train.a) + len(images.train.b)
    steps = min(max(n // 2, LEAST_STEPS), MOST_STEPS)
    rng = torch.Generator().manual_seed(seed)
    columns, targets = encode(images) if images.attributes else ([], None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ProbeNet(sum(max(1, len(c.names)) for c in columns) or CODE)
    # Imports a large part of torch, of which an interrupt would leave a half that cannot be
    # imported again
    with Stop():
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    with Progress("training the probe, once for this data set", steps) as progress:
        for step in range(1, steps + 1):
            index = torch.randint(n, (BATCH,), generator=rng)
            batch = to_float(take_rows(images.train, index))
            loss = (
                attribute_loss(net, batch, index, columns, targets, rng)
                if columns
                else view_loss(net, batch, index >= len(images.train.a), rng)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 10 == 0:
                progress.update(step)
    state = {
        "objective": "reads attributes" if columns else "matches views",
        "columns": [tuple(c) for c in columns],
        "weights": net.state_dict(),
        "mean": torch.zeros(()),
        "deviation": torch.ones(()),
        "readable": {},
    }
    features = torch.sinh(
        Probe(state).look(take_rows(images.train, torch.arange(0, n, max(1, n // SCALED_BY))))[0]
    )
    deviation = features.std(0)
    state |= {
        "mean": features.mean(0),
        "deviation": deviation.clamp(min=0.1 * float(deviation.mean())),
    }
    if columns:
        pairs = zip(images.val, images.attributes["val"])
        lower = pd.concat(
            [agreement(Probe(state).read(side), true).mean() for side, true in pairs], axis=1
        ).min(axis=1)
        state["readable"] = {
            name: round(float(value), 4) for name, value in lower.items() if value > READABLE
        }
    return state


def take_rows(pair, index):
    """The images of a Pair, those of B counted on from those of A; a copy of these alone, as the
    pair may lie on disk."""
    is_b = index >= len(pair.a)
    out = torch.empty(len(index), *pair.a.shape[1:], dtype=torch.uint8)
    out[~is_b] = pair.a[index[~is_b]]
    out[is_b] = pair.b[index[is_b] - len(pair.a)]
    return out


def encode(images):
    """The attributes of the training images as (Columns, {name: (targets (N,), weights (N,))}):
    weight 0 where the domain does not show the attribute."""
    table = pd.concat(images.attributes["train"], ignore_index=True)
    is_b = np.arange(len(table)) >= len(images.train.a)
    columns, targets, start = [], {}, 0
    for specs, seen in [(SHARED_SPECS, is_b | ~is_b), (ANIME_SPECS, ~is_b), (SELFIE_SPECS, is_b)]:
        for name in specs:
            values = table[name].tolist()
            names = sorted(set(values)) if isinstance(values[0], (bool, str)) else []
            numbers = np.array(
                [names.index(v) for v in values] if names else values,
                np.int64 if names else np.float32,
            )
            scale = (
                (0.0, 1.0) if names else (float(numbers.mean()), max(float(numbers.std()), 1e-6))
            )
            columns.append(Column(name, start, names, *scale))
            targets[name] = torch.from_numpy(numbers), torch.from_numpy(seen.astype(np.float32))
            start += max(1, len(names))
    return columns, targets


def attribute_loss(net, batch, index, columns, targets, rng):
    """Mean loss over all attributes of a batch that was mirrored and shifted at random, and its
    attributes with it."""
    n, _, h, w = batch.shape
    most = h // 16
    mirrored = torch.rand(n, generator=rng) < 0.5
    down, right = torch.randint(-most, most + 1, (2, n), generator=rng)
    batch = torch.where(mirrored[:, None, None, None], batch.flip(-1), batch)
    batch = crop(F.pad(batch, [most] * 4, mode="replicate"), most - down, most - right, (h, w))
    out = net(batch)
    total = 0
    for name, start, names, mean, deviation in columns:
        target = targets[name][0][index]
        seen = targets[name][1][index]
        if names:
            loss = F.cross_entropy(
                out[:, start : start + len(names)], target, reduction="none"
            ) / np.log(max(len(names), 2))
        else:
            if name in MIRRORED:
                target = torch.where(mirrored, -target, target)
            elif name == "x":
                target = torch.where(mirrored, 1 - target, target) + right / w
            elif name == "y":
                target = target + down / h
            loss = (out[:, start] - (target - mean) / deviation).square().clamp(max=9)
        total = total + (loss * seen).sum() / seen.sum().clamp(min=1)
    return total / len(columns)


def view_loss(net, batch, is_b, rng, temperature=0.2):
    """NT-Xent of two views of each image (2002.05709, equation 1): crops of 3/4 of the side,
    mirrored, in other colours or grey. differs: an image is told from the others of its own
    domain only, so that nothing is gained by knowing the domain."""
    n, _, h, w = batch.shape
    codes = []
    for _ in range(2):
        top, left = [
            (torch.rand(n, generator=rng) * (side - side * 3 // 4 + 1)).long() for side in (h, w)
        ]
        mirrored, grey = [
            (torch.rand(n, generator=rng) < share)[:, None, None, None] for share in (0.5, 0.2)
        ]
        gain, offset = [
            (torch.rand(n, 3, 1, 1, generator=rng) - 0.5) * spread for spread in (0.8, 0.4)
        ]
        view = crop(batch, top, left, (h * 3 // 4, w * 3 // 4))
        view = torch.where(mirrored, view.flip(-1), view) * (1 + gain) + offset
        codes.append(F.normalize(net(torch.where(grey, view.mean(1, keepdim=True), view))))
    likeness = torch.cat(codes) @ torch.cat(codes).T / temperature
    other = is_b.repeat(2)[:, None] != is_b.repeat(2)
    likeness = likeness.masked_fill(other | torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return F.cross_entropy(likeness, torch.arange(2 * n).roll(n))


def crop(images, top, left, size):
    """images[i] from row top[i] and column left[i] on: (N, 3, H, W) -> (N, 3, *size)."""
    rows, columns = [start[:, None] + torch.arange(side) for start, side in zip((top, left), size)]
    # (N, h, w, 3)
    picked = images[
        torch.arange(len(images))[:, None, None], :, rows[:, :, None], columns[:, None, :]
    ]
    return picked.permute(0, 3, 1, 2).contiguous()
