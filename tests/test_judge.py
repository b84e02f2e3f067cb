"""The measures themselves: what must be worse is worse, what must not matter does not, and
others compute the same."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ganlib import InputError
from ganlib.config import TrainConfig
from ganlib.data.domains import Pair, load_domains, to_float
from ganlib.evaluate import distances as evaluate_distances
from ganlib.evaluate import inception as evaluate_inception
from ganlib.evaluate.judge import Judge
from ganlib.evaluate.probe import Probe, agreement, find_probe, train_probe
from ganlib.evaluate.scores import SCORES, family
from ganlib.evaluate.translate import generate, to_bytes, translate
from ganlib.models.build import build_nets

pytestmark = pytest.mark.slow  # all of them train, or start a kernel or workers


@pytest.fixture(scope="module")
def known():
    """Built-in faces, whose probe reads attributes."""
    return load_domains("builtin", 32, builtin_a=300, builtin_b=300, builtin_eval=48)


@pytest.fixture(scope="module")
def unknown(known):
    """The same images as if they were a user's, of which nothing is known: their probe matches
    views."""
    return known._replace(
        attributes=None, drawn=None, stamp=known.stamp._replace(fingerprint="as a user's images")
    )


@pytest.fixture(scope="module", params=["attributes", "views"])
def judge(request, known, unknown):
    return Judge(known if request.param == "attributes" else unknown)


def shuffle_tiles(x, n):
    """The n x n tiles of each image in another order."""
    side = x.shape[-1] // n
    # (N, 3, n * n, side, side)
    tiles = x.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)[:, :, torch.randperm(n * n)]
    return tiles.unflatten(2, (n, n)).transpose(3, 4).reshape(x.shape)


DAMAGES = {
    "noise": lambda x, s: (
        x + 0.15 * 2**s * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    ),
    "blur": lambda x, s: F.avg_pool2d(x, 2 * s + 1, 1, s, count_include_pad=False),
    "colour": lambda x, s: x + 0.15 * 2**s * torch.tensor([1.0, 0.0, -1.0]).reshape(3, 1, 1),
    "contrast": lambda x, s: x * (1, 0.6, 0.35, 0.15)[s],
    "shuffled": lambda x, s: shuffle_tiles(x, (1, 2, 4, 8)[s]),
    "collapse": lambda x, s: x[torch.arange(len(x)) % (48, 8, 3, 1)[s]],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("side", "ab")
def test_damaged_images_are_farther_in_order_of_strength(judge, damage, side):
    torch.manual_seed(0)
    x, real = to_float(getattr(judge.images.val, side)), to_float(getattr(judge.pair, side))
    sets = [to_bytes(x)] + [to_bytes(DAMAGES[damage](x, s).clamp(-1, 1)) for s in (1, 2, 3)]
    features = [judge.probe.look(s)[0] for s in sets]
    measures = {
        "kid": [evaluate_distances.kid(f, judge.features["probe", side])[0] for f in features],
        "fid": [evaluate_distances.fid(f, judge.features["probe", side]) for f in features],
    }
    # Patches are the same ones in other places, or of fewer images
    if damage not in ("shuffled", "collapse"):
        measures["swd"] = [
            evaluate_distances.sliced_wasserstein(to_float(s), real)["mean"] for s in sets
        ]
    for name, values in measures.items():
        assert values == sorted(values) and len(set(values)) == 4, f"{name}: {np.round(values, 3)}"


def test_real_against_real_is_at_the_floor(judge):
    scores = judge.score(judge.landmarks()["random"])
    for side in "ab":
        assert (
            scores[f"kid_probe_{side}"]["low"] < 0.05
            and scores[f"kid_probe_{side}"]["value"] < 0.15
        )
        assert (
            scores[f"precision_probe_{side}"]["value"] > 0.7
            and scores[f"recall_probe_{side}"]["value"] > 0.7
        )


def test_copying_wins_faithfulness_and_a_random_answer_wins_realism(judge):
    scores = {
        name: {k: v["value"] for k, v in judge.score(out).items()}
        for name, out in judge.landmarks().items()
    }
    copied, random = scores["untranslated"], scores["random"]
    for name in copied:
        better, worse = (
            (random, copied)
            if family(name) in ("kid_probe", "fid_probe", "precision_probe", "recall_probe", "swd")
            else (copied, random)
        )
        # To the truth, which is of the target domain: neither is right
        if name.startswith(("psnr", "ssim", "perceptual")):
            continue
        sign = 1 if SCORES[family(name)].better == "more" else -1
        assert sign * better[name] > sign * worse[name], name
    assert all(
        copied[f"{name}_{way}"] == 0 for name in ("content", "cycle") for way in ("ab", "ba")
    )
    assert all(0.9 < random[f"content_{way}"] < 1.1 for way in ("ab", "ba"))


def test_truth_is_nearer_in_content_and_attributes_than_a_stranger(known):
    judge = Judge(known)
    truth, random = [judge.score(judge.landmarks()[name]) for name in ("truth", "random")]
    for way in ("ab", "ba"):
        assert truth[f"content_{way}"]["high"] < random[f"content_{way}"]["low"]
        assert truth[f"agreement_{way}"]["low"] > random[f"agreement_{way}"]["high"]
        assert (
            truth[f"perceptual_{way}"]["value"] == 0 < random[f"perceptual_{way}"]["low"]
            and truth[f"ssim_{way}"]["value"] == 1
        )
        assert f"psnr_{way}" not in truth, "infinite, and so no number"


def test_kid_and_fid_are_those_of_torch_fidelity(judge):
    """End to end on one side: files in, its own extraction, batching, subsets and matrix root;
    ours on the other."""

    class Ours(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        def forward(self, x):
            return (judge.probe.look(x)[0],)

        @staticmethod
        def get_provided_features_list():
            return ("features",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "features"

    class Images(torch.utils.data.Dataset):
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, i):
            return self.images[i]

    torch_fidelity.register_feature_extractor(judge.probe.hash, Ours)
    fake, real = judge.images.val.a, judge.pair.b
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        feature_extractor=judge.probe.hash,
        kid=True,
        fid=True,
        prc=True,
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=7,
        kid_subsets=100,
        kid_subset_size=24,
        rng_seed=0,
    )
    scores = judge.score(judge.landmarks()["untranslated"] | {"fake_b": to_float(fake)})
    assert scores["kid_probe_b"]["value"] == pytest.approx(
        theirs["kernel_inception_distance_mean"], rel=1e-3
    )
    assert scores["fid_probe_b"]["value"] == pytest.approx(
        theirs["frechet_inception_distance"], rel=1e-3
    )
    assert scores["precision_probe_b"]["value"] == pytest.approx(theirs["precision"], abs=1e-4)
    assert scores["recall_probe_b"]["value"] == pytest.approx(theirs["recall"], abs=1e-4)


@pytest.mark.parametrize("n, d", [(40, 9), (200, 30), (30, 64)])
def test_fast_fid_is_the_plain_one(n, d):
    rng = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(n, d, generator=rng).double(),
        torch.randn(n + 5, d, generator=rng).double() * 1.5 + 0.3,
    )
    plain = fid_statistics_to_metric(
        fid_features_to_statistics(x), fid_features_to_statistics(y), False
    )["frechet_inception_distance"]
    assert evaluate_distances.fid(x, y) == pytest.approx(plain, rel=1e-3)
    assert abs(evaluate_distances.fid(x, x)) < 1e-8


def test_nothing_depends_on_the_batch_size(judge):
    images = judge.pair.a
    for one, many in zip(
        judge.probe.look(images, batch_size=7), judge.probe.look(images, batch_size=48)
    ):
        torch.testing.assert_close(one, many, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        judge.probe.perceptual(images, judge.pair.b, 5),
        judge.probe.perceptual(images, judge.pair.b),
        atol=1e-5,
        rtol=1e-4,
    )
    net = build_nets(TrainConfig(image_size=(32, 32), ngf=4, ndf=4), torch.device("cpu")).g_ab
    torch.testing.assert_close(
        generate(net, to_float(images), 7),
        generate(net, to_float(images), 48),
        atol=1e-5,
        rtol=1e-4,
    )


def test_nothing_depends_on_the_order(judge):
    """Fakes and their inputs in another order: equal but for which halves and resamples are
    drawn."""
    out = judge.landmarks()["random"]
    turned = {name: x.flip(0) for name, x in out.items()}
    other = Judge(judge.images)
    for side in "ab":
        other.features["probe", side], other.contents[side] = (
            judge.features["probe", side].flip(0),
            judge.contents[side].flip(0),
        )
    other.pair = Pair(*[x.flip(0) for x in judge.pair])
    other.attributes = judge.attributes and {
        side: t.iloc[::-1] for side, t in judge.attributes.items()
    }
    other.truth = judge.truth and {way: x.flip(0) for way, x in judge.truth.items()}
    one, two = judge.score(out), other.score(turned)
    for name in one:
        sampled = name.startswith(("kid", "swd"))  # over other subsets, at other places
        margin = (
            (one[name]["high"] - one[name]["low"]) / 2
            if sampled
            else 1e-3 * max(1, abs(one[name]["value"]))
        )
        assert abs(one[name]["value"] - two[name]["value"]) <= margin, name


def test_interval_of_the_patch_distance_shrinks_with_the_images(known):
    a, b = map(to_float, known.train)
    errors = [
        evaluate_distances.sliced_wasserstein(a[:n], b[:n], with_error=True)["error"]
        for n in (20, 80, 300)
    ]
    assert errors[0] > 1.3 * errors[1] > 1.3**2 * errors[2] > 0


def test_too_few_images_leave_scores_out_and_break_nothing(monkeypatch):
    monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 10)
    few = load_domains("builtin", 32, builtin_a=20, builtin_b=20, builtin_eval=3)
    judge = Judge(few)
    scores = judge.score(judge.landmarks()["untranslated"])
    assert (
        "kid_probe_a" not in scores
        and "precision_probe_a" not in scores
        and scores["fid_probe_a"]["value"] > 0
    )
    json.dumps(scores, allow_nan=False), json.dumps(judge.protocols(), allow_nan=False)
    one = Judge(few, limit=1)
    scores = one.score(one.landmarks()["untranslated"])
    assert {"content_ab", "cycle_ab", "swd_a"} <= set(scores)
    assert all(score["low"] is score["high"] is None for score in scores.values())


def test_inverting_is_seen_in_the_pixels_and_known_where_it_is_right(judge):
    a, b = map(to_float, judge.pair)
    for sign in (1, -1):
        found = judge.check(fake_a=sign * 0.5 * b, fake_b=sign * a)
        assert found["correlation_ab"] == pytest.approx(sign, abs=0.01) and found[
            "correlation_ba"
        ] == pytest.approx(sign, abs=0.01)
    found = judge.check(
        **{name: judge.landmarks()["random"][name] for name in ("fake_a", "fake_b")}
    )
    assert abs(found["correlation_ab"]) < 0.3 and abs(found["correlation_ba"]) < 0.3
    assert all(judge.inverted[kid] > judge.untranslated[kid] for kid in ("kid_a", "kid_b")), (
        "no negatives of each other"
    )
    with pytest.MonkeyPatch.context() as patch:  # A and negatives of other images of A
        patch.setattr("ganlib.evaluate.judge.find_probe", lambda *_: judge.probe)
        patch.setattr("ganlib.evaluate.judge.load_truth", lambda *_: None)
        of_a = judge.images.train.a[:48]
        negatives = Judge(judge.images._replace(test=Pair(judge.pair.a, 255 - of_a)))
    assert all(negatives.inverted[kid] < negatives.untranslated[kid] for kid in ("kid_a", "kid_b"))


def test_every_score_has_its_protocol_and_its_limits(judge):
    scores, protocols = judge.score(judge.landmarks()["random"]), judge.protocols()
    assert {family(name) for name in scores} <= set(protocols) and {
        family(name) for name in scores
    } <= set(SCORES)
    for name, score in scores.items():
        assert score["low"] <= score["value"] <= score["high"] and protocols[family(name)]["n"] == {
            "a": 48,
            "b": 48,
        }
    assert (
        protocols["kid_probe"]["subset_size"] == 24
        and protocols["kid_probe"]["hash"] == judge.probe.hash
    )


def test_probe_is_the_same_each_time_and_kept(known, unknown, tmp_path, monkeypatch):
    small = known._replace(
        train=Pair(*[x[:40] for x in known.train]),
        attributes=known.attributes | {"train": tuple(t[:40] for t in known.attributes["train"])},
    )
    monkeypatch.setattr("ganlib.evaluate.probe.CACHE", tmp_path)
    monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 12)
    for images in (small, small._replace(attributes=None, drawn=None)):
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        first = find_probe(images)
        assert torch.equal(before, torch.random.get_rng_state()), (
            "a training that follows would depend on the cache"
        )
        kind = "attributes" if images.attributes else "views"
        path = next(tmp_path.glob(f"probe-*-{kind}-{images.fingerprint[:16]}.pt"))
        torch.manual_seed(2)
        assert Probe(train_probe(images)).hash == first.hash
        monkeypatch.setattr(
            "ganlib.evaluate.probe.train_probe", lambda *_: pytest.fail("trained again")
        )
        assert find_probe(images).hash == first.hash
        monkeypatch.undo()
        monkeypatch.setattr("ganlib.evaluate.probe.CACHE", tmp_path)
        monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 12)
        path.write_bytes(path.read_bytes()[:1000])
        assert find_probe(images).hash == first.hash and path.stat().st_size > 1000, (
            "a damaged one is made again"
        )


def test_probe_sees_real_training_images_only(known, tmp_path, monkeypatch):
    """Other images in val and test change what it is said to read well, and not what it is."""
    other = known._replace(
        val=Pair(*[x.flip(-1) for x in known.val]), test=Pair(*[x.flip(-1) for x in known.test])
    )
    monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 5)
    monkeypatch.setattr("ganlib.evaluate.probe.MOST_STEPS", 5)
    one, two = train_probe(known), train_probe(other)
    assert all(torch.equal(one["weights"][name], two["weights"][name]) for name in one["weights"])


def test_probe_is_the_same_with_any_number_of_threads(known, monkeypatch):
    monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 5)
    monkeypatch.setattr("ganlib.evaluate.probe.MOST_STEPS", 5)
    hashes = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        hashes.append(Probe(train_probe(known)).hash)
    assert hashes[0] == hashes[1] and torch.get_num_threads() == 2


@pytest.mark.parametrize("taught, least", [("attributes", 0.8), ("views", 0.55)])
def test_probe_knows_a_face_in_the_other_domain(known, unknown, taught, least):
    """How often the true counterpart is nearer than a stranger; the docstring has the figures of
    larger sets."""
    judge, truth = Judge(known if taught == "attributes" else unknown), Judge(known).truth
    nearer = []
    for way, side in (("ab", "a"), ("ba", "b")):
        distances = torch.cdist(judge.contents[side], judge.probe.look(truth[way])[1])
        nearer.append((distances.diag()[:, None] < distances).float().mean() * 48 / 47)
    assert sum(nearer) / 2 > least


def test_limit_takes_evenly_spaced_images_with_their_attributes_and_truth(known):
    whole, part = Judge(known), Judge(known, limit=12)
    assert len(part.pair.a) == 12 and torch.equal(part.pair.a[-1], whole.pair.a[-1])
    index = part.chosen["a"]
    assert torch.equal(part.truth["ab"], whole.truth["ab"][index]) and torch.equal(
        part.contents["a"], whole.contents["a"][index]
    )
    assert (part.attributes["a"].index == index.numpy()).all()


def test_probe_of_views_has_no_attributes_to_read(unknown):
    with pytest.raises(InputError, match="this probe has learned to match views, and reads none"):
        find_probe(unknown).read(unknown.test.a)


def test_agreement_is_cohens_kappa():
    true = pd.DataFrame(
        {"flag": [True, False, True, False], "word": list("aabb"), "number": [0.0, 1.0, 2.0, 3.0]}
    )
    assert (agreement(true, true).mean() == 1).all()
    constant = pd.DataFrame({"flag": [True] * 4, "word": ["a"] * 4, "number": [1.5] * 4})
    assert agreement(constant, true).mean().abs().max() < 1e-12
    half = true.assign(flag=[True, False, False, True])  # 2 of 4 right, as chance would
    assert agreement(half, true).flag.mean() == pytest.approx(0)
    assert agreement(true[::-1].reset_index(drop=True), true).number.mean() < 0
    assert agreement(constant[["flag"]], constant[["flag"]]).flag.isna().all()


def test_inception_says_in_one_line_what_it_lacks(tmp_path, monkeypatch, capsys):
    assert evaluate_inception.find_inception("") is None
    with pytest.raises(InputError, match=r"inception '.*none.pth': no such file; fetch https"):
        evaluate_inception.find_inception(str(tmp_path / "none.pth"))
    (tmp_path / "other.pth").write_bytes(b"something else")
    with pytest.raises(InputError, match="its sha256 begins with .{8}, expected 6726825d; fetch"):
        evaluate_inception.find_inception(str(tmp_path / "other.pth"))

    def offline(*_, **__):
        raise OSError("no network\nhere")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    assert evaluate_inception.find_inception("fetch") is None
    said = capsys.readouterr().out
    assert (
        said.count("\n") == 1
        and "could not be fetched (no network here), so nothing is scored by it; fetch https"
        in said
    )


def test_scores_by_inception_stand_beside_those_of_the_probe(known):
    class Tiny:
        name, hash = "Inception v3", "6726825d"

        def look(self, images):
            return F.avg_pool2d(to_float(images), 8).flatten(1)

    judge = Judge(known, inception=Tiny())
    scores = judge.score(judge.landmarks()["untranslated"])
    assert {
        f"{m}_inception_{side}" for m in ("kid", "fid", "precision", "recall") for side in "ab"
    } <= set(scores)
    assert (
        judge.protocols()["kid_inception"]["hash"]
        == "6726825d"
        != judge.protocols()["kid_probe"]["hash"]
    )


def test_translation_goes_both_ways_and_back(faces, tiny):
    nets = build_nets(tiny(), torch.device("cpu"))
    out = translate(nets.g_ab, nets.g_ba, faces.test, idt=True)
    real_a = to_float(faces.test.a)
    with torch.no_grad():
        assert torch.equal(out["real_a"], real_a)
        assert torch.allclose(out["fake_b"], nets.g_ab(real_a), atol=1e-5)
        assert torch.allclose(out["rec_a"], nets.g_ba(nets.g_ab(real_a)), atol=1e-4)
        assert torch.allclose(out["idt_b"], nets.g_ab(out["real_b"]), atol=1e-5)
    assert "idt_a" not in translate(nets.g_ab, nets.g_ba, faces.test)
