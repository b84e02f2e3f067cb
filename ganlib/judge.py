"""What translations are scored by: one Judge for a data set and split, the same for every model, and so the protocol.

Realism is said of the domain that a fake should look like (kid_probe_b: fake_b against real_b), faithfulness of the direction
(content_ab: real_a against fake_b).
"""

import math
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from ganlib import metrics
from ganlib.data import Pair, check_domains, check_images, load_truth, to_float
from ganlib.files import InputError
from ganlib.probe import agreement, find_probe
from ganlib.progress import Progress

WAYS = {"ab": ("a", "b"), "ba": ("b", "a")}     # direction: source and target domain
VERSION = 2                                     # of the formulas: scores of another one are no longer the same scores
SEED = 0                                        # of subsets, resamples, patches and projections

# What each score is (its name without domain or direction), and whether more of it is better. In the order of tables.
SCORES = {
    "kid_probe": ("KID, probe", False), "fid_probe": ("FID, probe", False), "precision_probe": ("precision, probe", True),
    "recall_probe": ("recall, probe", True),
    "kid_inception": ("KID, Inception", False), "fid_inception": ("FID, Inception", False),
    "precision_inception": ("precision, Inception", True), "recall_inception": ("recall, Inception", True),
    "swd": ("sliced Wasserstein x 1000", False),
    "cycle": ("cycle error", False), "content": ("content distance", False), "agreement": ("attribute agreement", True),
    "psnr": ("PSNR to the truth, dB", True), "ssim": ("SSIM to the truth", True), "perceptual": ("perceptual distance to the truth", False)}


@torch.no_grad()
def generate(net, images, batch_size=32):
    """A generator over any number of images, float (N, 3, H, W) in [-1, 1] on the CPU -> the same."""
    like, made = next(net.parameters()), []
    with Progress("translating", len(images), unit="images") as progress:
        for batch in images.split(batch_size):
            made.append(net(batch.to(like.device, like.dtype)).float().cpu())
            progress.add(len(batch))
    return torch.cat(made)


def translate(g_ab, g_ba, pair, idt=False):
    """Both directions of a Pair of images: {real_a, fake_b, rec_a, real_b, fake_a, rec_b}, float (N, 3, H, W) on the CPU.

    Every real_a goes to fake_b by g_ab and back to rec_a by g_ba; likewise for B. With idt also idt_a = g_ba(real_a), idt_b.
    Images are uint8, or floats in [-1, 1] (those in 0 to 1 cannot be told from them); InputError for anything else, and for a
    size that the generators cannot take.
    """
    if not isinstance(pair, Pair):
        raise InputError(f"pair: expected a Pair(a, b) of images, not a {type(pair).__name__}")
    check_images(pair.a, "pair.a")
    check_images(pair.b, "pair.b")
    out = {}
    for side, other, there, back in [("a", "b", g_ab, g_ba), ("b", "a", g_ba, g_ab)]:
        real = to_float(getattr(pair, side))
        fake = generate(there, real)
        out |= {f"real_{side}": real, f"fake_{other}": fake, f"rec_{side}": generate(back, fake)}
        if idt:
            out[f"idt_{side}"] = generate(back, real)
    return out


def to_bytes(images):
    """Float images (N, 3, H, W) in [-1, 1] as a file would hold them: uint8, rounded. uint8 stays as it is."""
    check_images(images.nan_to_num() if torch.is_tensor(images) else images)   # a loss says of what is not finite
    if images.dtype == torch.uint8:
        return images
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


class Judge:
    """The real images of a split ("test" or "val"; `limit` of each domain, evenly spaced) and what measures fakes against them.

    inception: an Inception to measure by as well. Building one trains the data set's probe if there is none yet.
    """

    def __init__(self, images, split="test", inception=None, limit=None, device="cpu"):
        check_domains(images)
        images = images.settled()
        self.images, self.split = images, split
        sides = getattr(images, split)
        self.chosen = {name: metrics.spread(len(side), limit or len(side)) for name, side in zip("ab", sides)}
        self.pair = Pair(*[side[chosen] for side, chosen in zip(sides, self.chosen.values())])
        self.probe = find_probe(images, device)
        self.extractors = {"probe": self.probe} | ({"inception": inception} if inception else {})
        self.features, self.contents = {}, {}
        for side in "ab":
            self.features["probe", side], self.contents[side] = self.probe.look(getattr(self.pair, side))
            if inception:
                self.features["inception", side] = inception.look(getattr(self.pair, side))
        self.strangers = float(torch.cdist(self.contents["a"], self.contents["b"]).mean())
        self.attributes = images.attributes and {side: table.iloc[self.chosen[side].numpy()] for side, table in zip("ab", images.attributes[split])}

    @cached_property
    def truth(self):
        """{direction: the true counterparts of its inputs, uint8}, drawn when first asked for; None where nobody knows them."""
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
        """check of the images as their negatives, as a translator would get that only inverts all colours."""
        return self.check(*[-to_float(side) for side in self.pair[::-1]])

    def by_image(self, out, way):
        """Faithfulness of each translation in a direction, "ab" or "ba", as a DataFrame of one row an image.

        cycle: mean |rec - real|, 0 to 2. content: distance of the probe's contents from input to fake, 1 for two strangers of
        the two domains. nearest: distance of the fake's features to those of the nearest real image of its domain. Of built-in
        faces also agreement (mean over the attributes that the probe reads well), and to the true counterpart psnr (dB; none, NaN,
        for the counterpart itself), ssim and perceptual. out: what translate gives; without rec there is no cycle.
        """
        source, target = WAYS[way]
        fake, table = to_bytes(out[f"fake_{target}"]), {}
        features, contents = self.probe.look(fake)
        if f"rec_{source}" in out:
            table["cycle"] = (out[f"rec_{source}"] - out[f"real_{source}"]).abs().mean((1, 2, 3))
        table["content"] = (contents - self.contents[source]).norm(dim=1) / self.strangers
        table["nearest"] = torch.cdist(features, self.features["probe", target]).min(1).values
        if self.attributes is not None and self.probe.readable:
            table["agreement"] = self.agreements(fake, way).mean(axis=1).to_numpy()
        if self.truth:
            from torchmetrics.functional.image import peak_signal_noise_ratio   # 3 s to import
            pair = to_float(fake), to_float(self.truth[way])
            table["psnr"] = peak_signal_noise_ratio(*pair, data_range=2.0, reduction="none", dim=(1, 2, 3))
            table["ssim"] = metrics.ssim(fake, self.truth[way])
            table["perceptual"] = self.probe.perceptual(*pair)
        table = {name: column.numpy() if torch.is_tensor(column) else column for name, column in table.items()}
        return pd.DataFrame(table).astype(np.float64).replace(np.inf, np.nan)

    def agreements(self, fake, way):
        """Agreement of each fake with the record of its source, a column for each attribute that the probe reads well."""
        readable = list(self.probe.readable)
        return agreement(self.probe.read(fake)[readable], self.attributes[WAYS[way][0]][readable])

    def score(self, out):
        """All scores of a set of translations: {name: {"value", "low", "high"}}, an interval of 95 % each.

        out: what translate gives for this judge's pair. A score that so few images do not allow is
        left out; low and high are None where they allow no interval. How often intervals hold is in
        docs/statistics.md.
        """
        scores = {}
        with Progress("scoring", 2 * len(self.extractors) + 4, unit="parts") as progress:
            for side in "ab":
                fake, real = to_bytes(out[f"fake_{side}"]), getattr(self.pair, side)
                for name, extractor in self.extractors.items():
                    found = extractor.look(fake)
                    found = found[0] if name == "probe" else found
                    for measure, *score in realism(found, self.features[name, side]):
                        bounds = BOUNDS.get(measure, ())
                        scores[f"{measure}_{name}_{side}"] = as_score(*score, *bounds)
                    progress.add()
                fake, real = to_float(fake), to_float(real)
                found = metrics.sliced_wasserstein(fake, real, SEED, with_error=True)
                scores[f"swd_{side}"] = as_score(*symmetric(found["mean"], found["error"]), 0)
                progress.add()
            for way in WAYS:
                table = self.by_image(out, way).drop(columns="nearest")
                for name in table.columns[table.notna().any()]:
                    values = torch.tensor(table[name])
                    scores[f"{name}_{way}"] = as_score(*metrics.mean_interval(values))
                progress.add()
        order = {name: i for i, name in enumerate(SCORES)}
        return dict(sorted(scores.items(), key=lambda item: order[family(item[0])]))

    def check(self, fake_a, fake_b):
        """The few figures that are followed during training, of float fakes of this judge's pair: kid_a, kid_b, content_ab,
        content_ba, correlation_ab, correlation_ba (see correlate), and variety_a, variety_b: how far fakes are from each
        other, of how far real images are. As a dict."""
        found = {}
        for way, fake in (("ba", fake_a), ("ab", fake_b)):
            (source, target), fake = WAYS[way], to_bytes(fake)
            features, contents = self.probe.look(fake)
            real = self.features["probe", target]
            if min(len(features), len(real)) >= 4:
                found[f"kid_{target}"] = metrics.kid(features, real, SEED)[0]
            found[f"content_{way}"] = float((contents - self.contents[source]).norm(dim=1).mean()) / self.strangers
            found[f"correlation_{way}"] = float(correlate(*map(to_float, (fake, getattr(self.pair, source)))).nanmean())
            if min(len(features), len(real)) >= 2:
                found[f"variety_{target}"] = float(torch.pdist(features).mean() / torch.pdist(real).mean())
        return {name: value for name, value in found.items() if math.isfinite(value)}   # of equal real images there is no ratio

    def nearest_training(self, fakes, side):
        """The training image of a domain that is nearest to each image by the probe's features: (indices (N,), distances (N,))."""
        if ("train", side) not in self.features:
            self.features["train", side] = self.probe.look(getattr(self.images.train, side))[0]
        distances = torch.cdist(self.probe.look(to_bytes(fakes))[0], self.features["train", side])
        return distances.argmin(1), distances.min(1).values

    def landmarks(self):
        """Translations that no model made, to tell what a score means: {name: what translate would give}.

        untranslated (the identity), random (each input answered by an arbitrary training image of the target domain), and of
        built-in faces truth (the true counterparts; nothing is translated back).
        """
        a, b = map(to_float, self.pair)
        rng = torch.Generator().manual_seed(SEED)

        def any_of(side, n):
            train = getattr(self.images.train, side)
            return to_float(train[torch.randint(len(train), (n,), generator=rng)])

        marks = {"untranslated": {"real_a": a, "fake_b": a, "rec_a": a, "real_b": b, "fake_a": b, "rec_b": b},
                 "random": {"real_a": a, "fake_b": any_of("b", len(a)), "rec_a": any_of("a", len(a)),
                            "real_b": b, "fake_a": any_of("a", len(b)), "rec_b": any_of("b", len(b))}}
        if self.truth:
            marks["truth"] = {"real_a": a, "fake_b": to_float(self.truth["ab"]), "real_b": b, "fake_a": to_float(self.truth["ba"])}
        return marks

    def protocols(self):
        """How each score was taken, by its name without domain or direction: scores compare only where this is equal."""
        n = {side: len(getattr(self.pair, side)) for side in "ab"}
        common = {"version": VERSION, "n": n, "split": self.split, "resolution": list(self.pair.a.shape[-2:]), "data": self.images.fingerprint[:16],
                  "filter": "drawn at this size" if self.images.drawn else "Lanczos, antialiased (Pillow)", "seed": SEED}
        half, found = min(n.values()) // 2, {}
        for name, extractor in self.extractors.items():
            by = common | {"extractor": getattr(extractor, "name", f"probe, {getattr(extractor, 'objective', '')}"), "hash": extractor.hash,
                           "pixels": "8 bits, rounded"}
            found |= {f"kid_{name}": by | {"subset_size": half, "subsets": metrics.KID_SUBSETS, "kernel": "cubic, unbiased",
                                           "interval": "95 %: U-statistic's variance, Student's t"},
                      f"fid_{name}": by | {"interval": said(FID_PART)}}
            shares = {"neighbour": metrics.NEIGHBOUR,
                      "interval": said(SHARE_PART) + ", and no less than a share of n images has"}
            found |= {f"{measure}_{name}": by | shares for measure in ("precision", "recall")}
        found["swd"] = common | {"patches": f"{metrics.PER_IMAGE} an image and level, {metrics.PATCH}x{metrics.PATCH}",
                                 "directions": metrics.DIRECTIONS, "scale": "of the real images", "pixels": "8 bits, rounded",
                                 "interval": f"95 %: 1.96 standard errors, bootstrap over images, {metrics.SWD_RESAMPLES} resamples"}
        per_image = common | {"interval": "95 % of a mean over images: Student's t"}
        by_probe = per_image | {"extractor": f"probe, {self.probe.objective}", "hash": self.probe.hash}
        found |= {"cycle": per_image, "content": by_probe}
        if self.images.drawn:
            found |= {"agreement": by_probe | {"attributes": list(self.probe.readable)}, "psnr": per_image, "ssim": per_image,
                      "perceptual": by_probe}
        return {name: {"what": WHAT[name.rsplit("_", 1)[0] if name.endswith(("_probe", "_inception")) else name]} | protocol
                for name, protocol in found.items()}


def correlate(x, y):
    """Pearson's correlation of the pixels of x[i] and y[i], each channel about its own mean in that image, (N, 3, H, W) twice
    -> (N,): 1 for the same picture at any contrast, -1 for its negative. NaN for one without any contrast."""
    x, y = [side.double() - side.double().mean((2, 3), keepdim=True) for side in (x, y)]
    return (x * y).sum((1, 2, 3)) / (x.square().sum((1, 2, 3)) * y.square().sum((1, 2, 3))).sqrt()


WHAT = {    # of a family of scores: formula, range, which way is better; _a and _b judge fakes of that domain, _ab and _ba a direction
    "kid": "kernel distance of features of fakes and real images; 0 where no difference is left (may be a little below), smaller is better",
    "fid": "Frechet distance of features of fakes and real images; 0 or more, smaller is better; too large for few images",
    "precision": "share of fakes among the real images, by features; 0 to 1, more is better",
    "recall": "share of real images among the fakes, by features; 0 to 1, more is better",
    "swd": "sliced Wasserstein distance * 1000 of patches of a Laplacian pyramid; 0 or more, smaller is better",
    "cycle": "mean |rec - real| of pixels in [-1, 1]; 0 to 2, smaller is better",
    "content": "distance of the probe's contents from input to fake; 0 the same, 1 two strangers of the two domains, smaller is better",
    "agreement": "attributes read off the fake against the input's record, chance removed; 0 chance, 1 all, more is better",
    "psnr": "dB to the true counterpart, pixels in [-1, 1], 8 bits; more is better",
    "ssim": "structural similarity to the true counterpart, pixels from 0 to 1, whole Gaussian windows of 11 pixels; -1 to 1, "
            "more is better",
    "perceptual": "squared distance of the probe's normalised maps to the true counterpart; 0 to 4, smaller is better"}
BOUNDS = {"fid": (0,), "precision": (0, 1), "recall": (0, 1)}
FID_PART, SHARE_PART = 0.75, 0.5    # of the images in a subset: for FID; for precision and recall


def said(part):
    """How an interval over subsets of `part` of the images is taken, for a protocol."""
    return ("95 % of what as many images give on average: 1.96 standard errors, "
            f"{metrics.RESAMPLES} subsets of {part:.0%} of the images")


def realism(fake, real):
    """(measure, value, low, high) of each realism measure of two feature sets that their sizes
    allow; low and high are NaN where they allow no interval."""
    found, least = [], min(len(fake), len(real))
    if least >= 4:
        found.append(("kid", *metrics.kid(fake, real, SEED)))
    if least >= 2:
        error = math.nan
        if least >= 3:
            error = metrics.subsample(metrics.fid, fake, real, FID_PART, SEED).item()
        found.append(("fid", *symmetric(metrics.fid(fake, real), error)))
    if least > metrics.NEIGHBOUR + 1:
        values, errors = metrics.precision_recall(fake, real), (math.nan, math.nan)
        if round(SHARE_PART * least) > metrics.NEIGHBOUR + 1:
            errors = metrics.subsample(metrics.precision_recall, fake, real, SHARE_PART, SEED)
        for i, (name, images) in enumerate({"precision": fake, "recall": real}.items()):
            error = max(float(errors[i]), share_error(values[i], len(images)))
            found.append((name, *symmetric(values[i], error)))
    return found


def share_error(share, n):
    """The least standard error of a share of n images: Agresti and Coull's (1998), never 0."""
    share = (share * n + 2) / (n + 4)
    return (share * (1 - share) / (n + 4)) ** 0.5


def symmetric(value, error):
    """A value with its interval of 95 %, 1.96 standard errors to both sides."""
    return value, value - 1.96 * error, value + 1.96 * error


def as_score(value, low, high, least=-math.inf, most=math.inf):
    """A score as metrics.json has it: rounded, its interval within what can be, None for NaN."""
    ends = max(low, least), min(high, most)
    low, high = [None if math.isnan(end) else round(end, 5) for end in ends]
    return {"value": round(value, 5), "low": low, "high": high}


def show_score(score):
    """A score with its interval as a text, "0.52 [0.40, 0.64]"; "0.52" where it has none."""
    text = f"{score['value']:.2f}"
    return text if score["low"] is None else f"{text} [{score['low']:.2f}, {score['high']:.2f}]"


def family(name):
    """A score's name without its domain or direction: kid_probe of kid_probe_a."""
    return name.rsplit("_", 1)[0]
