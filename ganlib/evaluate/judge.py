"""What translations are scored by: one Judge for a data set and split, the same for every model,
and so the protocol.

Realism is said of the domain that a fake should look like (kid_probe_b: fake_b against real_b),
faithfulness of the direction (content_ab: real_a against fake_b)."""

import math
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from ganlib.data.domains import Pair, check_domains, load_truth, to_float
from ganlib.evaluate import distances
from ganlib.evaluate.probe import agreement, find_probe
from ganlib.evaluate.scores import (
    FID_PART,
    PROTOCOL_VERSION,
    SCORES,
    SEED,
    SHARE_PART,
    Direction,
    as_score,
    family,
    realism,
    said,
    symmetric,
)
from ganlib.evaluate.translate import WAYS, to_bytes
from ganlib.show.progress import Progress


class Judge:
    """The real images of a split ("test" or "val"; `limit` of each domain, evenly spaced) and what
    measures fakes against them.

    inception: an Inception to measure by as well. Building one trains the data set's probe if
    there is none yet."""

    def __init__(self, images, split="test", inception=None, limit=None, device="cpu"):
        check_domains(images)
        images = images.settled()
        self.images, self.split = images, split
        sides = getattr(images, split)
        self.chosen = {
            name: distances.spread(len(side), limit or len(side)) for name, side in zip("ab", sides)
        }
        self.pair = Pair(*[side[chosen] for side, chosen in zip(sides, self.chosen.values())])
        self.probe = find_probe(images, device)
        self.extractors = {"probe": self.probe} | ({"inception": inception} if inception else {})
        self.features, self.contents = {}, {}
        for side in "ab":
            self.features["probe", side], self.contents[side] = self.probe.look(
                getattr(self.pair, side)
            )
            if inception:
                self.features["inception", side] = inception.look(getattr(self.pair, side))
        self.strangers = float(torch.cdist(self.contents["a"], self.contents["b"]).mean())
        self.attributes = images.attributes and {
            side: table.iloc[self.chosen[side].numpy()]
            for side, table in zip("ab", images.attributes[split])
        }

    @cached_property
    def truth(self):
        """{direction: the true counterparts of its inputs, uint8}, drawn when first asked for;
        None where nobody knows them."""
        if self.images.drawn is None:
            return None
        of_b, of_a = load_truth(self.images, self.split)
        return {"ab": of_a[self.chosen["a"]], "ba": of_b[self.chosen["b"]]}

    @cached_property
    def untranslated(self):
        """check of the images themselves, as a translator would get that copies its input."""
        return self.check(*map(to_float, self.pair[::-1]))

    @cached_property
    def inverted(self):
        """check of the images as their negatives, as a translator would get that only inverts
        all colours."""
        return self.check(*[-to_float(side) for side in self.pair[::-1]])

    def by_image(self, out, way):
        """Each score of an image that scores.SCORES has, for the translations in a direction, "ab"
        or "ba", as a DataFrame of one row an image; NaN where it has no value.

        nearest, which is no score: distance of the fake's features to those of the nearest real
        image of its domain. out: what translate gives; without rec there is no cycle."""
        source, target = WAYS[way]
        fake = to_bytes(out[f"fake_{target}"])
        features, contents = self.probe.look(fake)
        real = out[f"real_{source}"]
        rec = out.get(f"rec_{source}")
        direction = Direction(self, way, source, real, fake, rec, contents)
        table = {}
        for name, score in SCORES.items():
            values = score.of_images(direction) if score.of_images else None
            if values is not None:
                table[name] = values.numpy()
        nearest = torch.cdist(features, self.features["probe", target]).min(1).values
        table["nearest"] = nearest.numpy()
        return pd.DataFrame(table).astype(np.float64).replace(np.inf, np.nan)

    def agreements(self, fake, way):
        """Agreement of each fake with the record of its source, a column for each attribute that
        the probe reads well."""
        readable = list(self.probe.readable)
        return agreement(self.probe.read(fake)[readable], self.attributes[WAYS[way][0]][readable])

    def score(self, out):
        """All scores of a set of translations: {name: {"value", "low", "high"}}, an interval of 95
        % each.

        out: what translate gives for this judge's pair. A score that so few images do not allow is
        left out; low and high are None where they allow no interval. How often intervals hold is in
        docs/statistics.md.
        """
        scores = {}
        with Progress("scoring", 2 * len(self.extractors) + 4, unit="parts") as progress:
            for side in "ab":
                fake = to_bytes(out[f"fake_{side}"])
                real = getattr(self.pair, side)
                for name, extractor in self.extractors.items():
                    found = extractor.look(fake)
                    found = found[0] if name == "probe" else found
                    for measure, *score in realism(found, self.features[name, side]):
                        measure = f"{measure}_{name}"
                        scores[f"{measure}_{side}"] = as_score(measure, *score)
                    progress.add()
                fake = to_float(fake)
                real = to_float(real)
                found = distances.sliced_wasserstein(fake, real, SEED, with_error=True)
                found = symmetric(found["mean"], found["error"])
                scores[f"swd_{side}"] = as_score("swd", *found)
                progress.add()
            for way in WAYS:
                table = self.by_image(out, way).drop(columns="nearest")
                for name in table.columns[table.notna().any()]:
                    values = distances.mean_interval(torch.tensor(table[name]))
                    scores[f"{name}_{way}"] = as_score(name, *values)
                progress.add()
        order = list(SCORES)
        return dict(sorted(scores.items(), key=lambda item: order.index(family(item[0]))))

    def check(self, fake_a, fake_b):
        """The few figures that are followed during training, of float fakes of this judge's
        pair: kid_a, kid_b, content_ab, content_ba, correlation_ab, correlation_ba (see
        correlate), and variety_a, variety_b: how far fakes are from each other, of how far real
        images are. As a dict."""
        found = {}
        for way, fake in (("ba", fake_a), ("ab", fake_b)):
            source, target = WAYS[way]
            fake = to_bytes(fake)
            features, contents = self.probe.look(fake)
            real = self.features["probe", target]
            if min(len(features), len(real)) >= 4:
                found[f"kid_{target}"] = distances.kid(features, real, SEED)[0]
            found[f"content_{way}"] = (
                float((contents - self.contents[source]).norm(dim=1).mean()) / self.strangers
            )
            found[f"correlation_{way}"] = float(
                correlate(*map(to_float, (fake, getattr(self.pair, source)))).nanmean()
            )
            if min(len(features), len(real)) >= 2:
                found[f"variety_{target}"] = float(
                    torch.pdist(features).mean() / torch.pdist(real).mean()
                )
        # Of equal real images there is no ratio
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def nearest_training(self, fakes, side):
        """The training image of a domain that is nearest to each image by the probe's features:
        (indices (N,), distances (N,))."""
        if ("train", side) not in self.features:
            self.features["train", side] = self.probe.look(getattr(self.images.train, side))[0]
        distances = torch.cdist(self.probe.look(to_bytes(fakes))[0], self.features["train", side])
        return distances.argmin(1), distances.min(1).values

    def landmarks(self):
        """Translations that no model made, to tell what a score means: {name: what translate would
        give}.

        untranslated (the identity), random (each input answered by an arbitrary training image
        of the target domain), and of built-in faces truth (the true counterparts; nothing is
        translated back)."""
        a, b = map(to_float, self.pair)
        rng = torch.Generator().manual_seed(SEED)

        def any_of(side, n):
            train = getattr(self.images.train, side)
            return to_float(train[torch.randint(len(train), (n,), generator=rng)])

        marks = {
            "untranslated": {
                "real_a": a,
                "fake_b": a,
                "rec_a": a,
                "real_b": b,
                "fake_a": b,
                "rec_b": b,
            },
            "random": {
                "real_a": a,
                "fake_b": any_of("b", len(a)),
                "rec_a": any_of("a", len(a)),
                "real_b": b,
                "fake_a": any_of("a", len(b)),
                "rec_b": any_of("b", len(b)),
            },
        }
        if self.truth:
            marks["truth"] = {
                "real_a": a,
                "fake_b": to_float(self.truth["ab"]),
                "real_b": b,
                "fake_a": to_float(self.truth["ba"]),
            }
        return marks

    def protocols(self):
        """How each score was taken, by its name without domain or direction: scores compare only
        where this is equal."""
        n = {side: len(getattr(self.pair, side)) for side in "ab"}
        common = {
            "version": PROTOCOL_VERSION,
            "n": n,
            "split": self.split,
            "resolution": list(self.pair.a.shape[-2:]),
            "data": self.images.fingerprint[:16],
            "filter": "drawn at this size"
            if self.images.drawn
            else "Lanczos, antialiased (Pillow)",
            "seed": SEED,
        }
        half = min(n.values()) // 2
        found = {}
        for name, extractor in self.extractors.items():
            by = common | {
                "extractor": getattr(
                    extractor, "name", f"probe, {getattr(extractor, 'objective', '')}"
                ),
                "hash": extractor.hash,
                "pixels": "8 bits, rounded",
            }
            found |= {
                f"kid_{name}": by
                | {
                    "subset_size": half,
                    "subsets": distances.KID_SUBSETS,
                    "kernel": "cubic, unbiased",
                    "interval": "95 %: U-statistic's variance, Student's t",
                },
                f"fid_{name}": by | {"interval": said(FID_PART)},
            }
            shares = {
                "neighbour": distances.NEIGHBOUR,
                "interval": said(SHARE_PART) + ", and no less than a share of n images has",
            }
            found |= {f"{measure}_{name}": by | shares for measure in ("precision", "recall")}
        found["swd"] = common | {
            "patches": (
                f"{distances.PER_IMAGE} an image and level, {distances.PATCH}x{distances.PATCH}"
            ),
            "directions": distances.DIRECTIONS,
            "scale": "of the real images",
            "pixels": "8 bits, rounded",
            "interval": (
                "95 %: 1.96 standard errors, bootstrap over images, "
                f"{distances.SWD_RESAMPLES} resamples"
            ),
        }
        per_image = common | {"interval": "95 % of a mean over images: Student's t"}
        by_probe = {"extractor": f"probe, {self.probe.objective}", "hash": self.probe.hash}
        for name, score in SCORES.items():
            if score.of_images and (self.images.drawn or not score.of_drawn):
                found[name] = per_image | (by_probe if score.by_probe else {})
        if "agreement" in found:
            found["agreement"]["attributes"] = list(self.probe.readable)
        return {name: {"what": SCORES[name].what} | by for name, by in found.items()}


def correlate(x, y):
    """Pearson's correlation of the pixels of x[i] and y[i], each channel about its own mean in
    that image, (N, 3, H, W) twice -> (N,): 1 for the same picture at any contrast, -1 for its
    negative. NaN for one without any contrast."""
    x, y = [side.double() - side.double().mean((2, 3), keepdim=True) for side in (x, y)]
    return (x * y).sum((1, 2, 3)) / (x.square().sum((1, 2, 3)) * y.square().sum((1, 2, 3))).sqrt()
