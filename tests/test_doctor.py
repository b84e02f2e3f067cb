"""The doctor: every fault that is planted is found and named, and none is invented."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from ganlib import InputError
from ganlib.data.domains import load_domains
from ganlib.doctor.__main__ import main, parse_size
from ganlib.doctor.checks import STRANGE, check_likeness, check_sizes, show_size
from ganlib.doctor.examine import examine, offenders, tell_cost
from ganlib.doctor.looks import look_at
from ganlib.faces import draw_faces

COUNTS = {"train": 110, "val": 8, "test": 8}

pytestmark = pytest.mark.slow  # they look at hundreds of images


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder of sound images: built-in faces of both domains at 64 pixels."""
    folder = tmp_path_factory.mktemp("clean")
    for split, n in COUNTS.items():
        for domain in ("anime", "selfie"):
            (folder / split / domain).mkdir(parents=True)
            for i, face in enumerate(draw_faces(domain, n, 64, split=split)[0]):
                Image.fromarray(face).save(folder / split / domain / f"{i:03}.png")
    return folder


def findings(folder, size=64):
    return {f.check: f for f in examine(load_domains(folder, size)).findings}


def test_nothing_is_found_in_sound_images(clean):
    assert findings(clean) == {}


def test_nothing_is_found_in_the_built_in_faces():
    large = load_domains("builtin", 128, builtin_a=100, builtin_b=100, builtin_eval=1, seed=5)
    assert examine(large).findings == []
    diagnosis = examine(load_domains("builtin"))
    assert diagnosis.findings == [] and diagnosis.apart["told_apart"] > 0.98
    assert diagnosis.apart["a_to_b"] > 3 * max(diagnosis.apart["a_to_a"], diagnosis.apart["b_to_b"])


def test_every_planted_fault_is_found_and_no_other(clean, tmp_path):
    folder = tmp_path / "planted"
    shutil.copytree(clean, folder)

    def image(name):
        return Image.open(clean / name)

    def save(picture, name, **options):
        picture.save(folder / name, **options)

    a, b = "train/anime", "train/selfie"
    planted = {
        "unreadable": [f"{a}/cut.png"],
        "dark": [f"{b}/dark.png"],
        "bright": [f"{b}/bright.png"],
        "flat": [f"{a}/flat.png"],
        "blurred": [f"{a}/blurred.png", f"{b}/blurred.png"],
        "grey": [f"{b}/grey.png"],
        "enlarged": [f"{a}/small.png"],
        "proportions": [f"{b}/long.png"],
        "odd_size": [f"{b}/huge.png"],
        "strange": [f"{a}/a_selfie.png"],
        "exact_duplicates": [(f"{a}/000.png", f"{a}/copy.png")],
        "near_duplicates": [(f"{b}/001.png", f"{b}/saved_again.jpg")],
        "leakage": [("train/selfie/002.png", "test/selfie/leak.jpg")],
        "remark": [f"{a}/moving.gif"],
        "in_both_domains": [("test/anime/003.png", "val/selfie/both.png")],
    }
    (folder / a / "cut.png").write_bytes((clean / a / "005.png").read_bytes()[:1500])
    extra = [Image.fromarray(x) for x in draw_faces("selfie", 9, 64, seed=9)[0]]
    drawn = [Image.fromarray(x) for x in draw_faces("anime", 5, 64, seed=9)[0]]
    save(extra[0].point(lambda v: v * 0.12), f"{b}/dark.png")
    save(extra[1].point(lambda v: 255 - (255 - v) * 0.05), f"{b}/bright.png")
    save(Image.new("RGB", (64, 64), (90, 120, 200)), f"{a}/flat.png")
    save(drawn[0].filter(ImageFilter.GaussianBlur(1.5)), f"{a}/blurred.png")
    save(extra[2].filter(ImageFilter.GaussianBlur(1.5)), f"{b}/blurred.png")
    save(extra[3].convert("L"), f"{b}/grey.png")
    save(drawn[1].resize((40, 40)), f"{a}/small.png")
    long = Image.new("RGB", (200, 64), "grey")
    long.paste(extra[4], (68, 0))
    save(long, f"{b}/long.png")
    save(extra[5].resize((600, 600), Image.Resampling.LANCZOS), f"{b}/huge.png")
    save(extra[6], f"{a}/a_selfie.png")
    (folder / a / "copy.png").write_bytes((clean / a / "000.png").read_bytes())
    save(
        image(f"{b}/001.png").resize((90, 90), Image.Resampling.BICUBIC),
        f"{b}/saved_again.jpg",
        quality=60,
    )
    save(image(f"{b}/002.png"), "test/selfie/leak.jpg", quality=70)
    save(drawn[2], f"{a}/moving.gif", save_all=True, append_images=[drawn[3]])
    (folder / "val/selfie/both.png").write_bytes((clean / "test/anime/003.png").read_bytes())
    found = findings(folder)
    found["strange"].files.remove("val/selfie/both.png")  # it is anime, so this is right too
    assert set(found) == set(planted)
    for check, files in planted.items():
        got = [
            f.split(": ")[0] if isinstance(f, str) else tuple(sorted(f)) for f in found[check].files
        ]
        assert sorted(got) == sorted(
            f if isinstance(f, str) else tuple(sorted(f)) for f in files
        ), check
    assert all(f.fix for f in found.values())


def test_swapped_small_and_unequal_domains(clean, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).symlink_to(clean / split)
    (tmp_path / "val/anime").parent.mkdir()
    (tmp_path / "val/anime").symlink_to(clean / "val/selfie")
    (tmp_path / "val/selfie").symlink_to(clean / "val/anime")
    found = findings(tmp_path)
    assert (
        set(found) == {"swapped_split"}
        and len(found["swapped_split"].files) == 16
        and "val" in found["swapped_split"].text
    )
    images = load_domains(clean, 64, domain_a="selfie")
    known, features = look_at(images)
    assert [f.check for f in check_likeness(known, features, images)] == ["swapped_domains"]
    images = load_domains("builtin", 64, builtin_a=20, builtin_b=120, builtin_eval=4)
    known, features = look_at(images)
    assert [f.check for f in check_likeness(known, features, images)] == ["few_images", "unequal"]


def test_command_tells_and_writes_for_scripts_and_people(clean, tmp_path, capsys):
    assert main([str(clean), "--no-cost"]) == 0
    assert "nothing found that should be mended" in capsys.readouterr().out
    assert (
        main(
            [
                str(clean),
                "--no-cost",
                "--json",
                "--image-size",
                "96",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 1
    )
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out/doctor.json").read_text())
    assert [f["check"] for f in told["findings"]] == ["enlarged"] and len(
        told["findings"][0]["files"]
    ) == 252
    assert told["files"][1] == {
        "domain": "selfie",
        "images": COUNTS,
        "width": [64] * 3,
        "height": [64] * 3,
        "modes": {"RGB": 126},
        "formats": {"PNG": 126},
    }
    assert Image.open(tmp_path / "out/doctor-01-enlarged.png").width > 300


def test_data_that_training_refuses_is_looked_at_and_every_unreadable_file_listed(
    clean, tmp_path, capsys
):
    shutil.copytree(clean, tmp_path / "set")
    bad = [f"train/anime/bad{i:02}.png" for i in range(30)]
    for name in bad:
        (tmp_path / "set" / name).write_bytes(b"no image")
    (tmp_path / "set/train/anime/notes.txt").write_text("about")
    with pytest.raises(InputError, match="30 of 282 images cannot be read"):
        load_domains(tmp_path / "set")
    assert main([str(tmp_path / "set"), "--no-cost", "--json"]) == 1
    found = {f["check"]: f["files"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert [f.split(": ")[0] for f in found["unreadable"]] == bad and set(found) == {
        "unreadable",
        "left_out",
    }
    assert found["left_out"][0].startswith("train/anime/notes.txt: no image")


def test_a_few_images_are_enough_to_look_at(clean, tmp_path, capsys):
    for k, domain in enumerate("AB"):
        (tmp_path / f"train{domain}").mkdir()
        for i in range(3):
            shutil.copy(
                clean / f"train/{('anime', 'selfie')[k]}/{i:03}.png", tmp_path / f"train{domain}"
            )
    assert main([str(tmp_path), "--json"]) == 1
    # No NaN, which is no JSON
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [f["check"] for f in told["findings"]] == ["few_images"] * 2 and told["apart"][
        "a_to_a"
    ] is None
    assert told["cost"]["pairs_per_second"] > 0


def test_leak_is_found_behind_a_copy_in_the_other_domain(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "set")
    for name in ("train/selfie/both.png", "test/selfie/both.png"):
        shutil.copy(clean / "train/anime/000.png", tmp_path / "set" / name)
    found = findings(tmp_path / "set")
    assert (
        found["leakage"].files == [("train/selfie/both.png", "test/selfie/both.png")]
        and len(found["in_both_domains"].files) == 1
    )


def test_turned_images_are_judged_as_they_are_seen(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "set")
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (tmp_path / "set").glob("*/selfie/*.png"):
        Image.open(file).resize((64, 128)).transpose(Image.Transpose.ROTATE_90).save(
            file, exif=exif
        )
    assert {
        f.check
        for f in examine(load_domains(tmp_path / "set", (128, 64))).findings
        if "selfie" in f.files[0]
    } == {"remark"}


def test_size_that_the_networks_do_not_take_is_a_finding(clean, capsys):
    assert main([str(clean), "--image-size", "30", "--json"]) == 1
    assert [f["check"] for f in json.loads(capsys.readouterr().out)["findings"]] == ["image_size"]


def test_grey_domain_is_a_note_and_no_fault_of_each_image(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "set")
    for file in (tmp_path / "set").glob("*/selfie/*.png"):
        Image.open(file).convert("L").save(file)
    images = load_domains(tmp_path / "set")
    found = {f.check: f for f in examine(images).findings}
    assert (
        set(found) == {"grey_domain"}
        and len(found["grey_domain"].files) == 126
        and found["grey_domain"].level == "note"
    )


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (["nowhere"], 2, "no such folder or zip"),
        (["builtin", "--image-size", "0"], 2, "image_size 0"),
        (["builtin", "--image-size", "64.5"], 2, "--image-size 64.5: expected a whole number"),
        (
            ["builtin", "--image-size", "16x8x8"],
            2,
            "--image-size 16x8x8: expected a whole number of pixels, as 64, or height and width, "
            "as 32x48",
        ),
        (["builtin", "--domain-a", "selfie"], 2, "of the builtin faces A is"),
        ([], 2, "image_size 8x8: expected 16"),
    ],
)
def test_command_refuses_in_one_line(arguments, status, text, clean, capsys):
    assert main(arguments or [str(clean), "--image-size", "8"]) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ") and text in error and error.count("\n") == 1


@pytest.mark.parametrize("text", ["32x48", "32X48", "32,48", "32, 48", "[32, 48]", "(32, 48)"])
def test_size_of_the_command_is_a_number_or_height_and_width(text):
    assert parse_size(text) == [32, 48] and parse_size(" 64 ") == parse_size("[64]") == 64


def test_size_is_told_in_one_order():
    known = pd.DataFrame(
        {
            "width": [60, 64],
            "height": [80, 90],
            "side": "ab",
            "remark": "",
            "file": ["a.png", "b.png"],
        }
    )
    assert (
        check_sizes(known, (80, 64))[0].text
        == "images smaller than 80x64 (height x width), which get enlarged: 1"
    )
    assert (
        load_domains("builtin", 32, builtin_a=1, builtin_b=1, builtin_eval=1).train.a.shape[2:]
        == (32, 32)
        and show_size((32, 32)) == "32x32"
    )


def test_unwritable_place_for_pictures(clean, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(clean), "--no-cost", "--out", str(tmp_path / "file/out")]) == 2
    assert "expected a folder that can be written, with room" in capsys.readouterr().err


def test_cost_is_told_in_words():
    cost = {
        "ngf": 64,
        "device": "a GPU",
        "seconds_per_pair": 0.01,
        "pairs_per_second": 100.0,
        "training_mib": 398,
        "data_mib": 98,
    }
    assert tell_cost(cost).startswith(
        "The study's training (80,000 pairs at ngf 64) takes about 13 minutes on this machine (a "
        "GPU: 1e+02"
    )


def test_pictures_of_pairs_stand_one_above_the_other(clean):
    images = load_domains(clean, 64)
    known, _ = look_at(images)
    finding = type("Finding", (), {"check": "leakage", "rows": [(0, 1), (2, 3)]})
    figure = offenders(images, known, finding)
    width, height = figure.get_size_inches()
    assert len(figure.axes[0].images) == 1 and 0.8 < (width - 0.9) / height < 1.2
    assert np.array_equal(look_at(images)[0].belongs, known.belongs)


def test_nothing_is_strange_where_the_domains_look_alike(tmp_path):
    """Drawn of one distribution: a third of them used to be called images of the other domain,
    to be moved."""
    rng = np.random.default_rng(0)
    for domain in ("circles", "rings"):
        (tmp_path / domain).mkdir()
        for i in range(40):
            colour = rng.integers(0, 256, 3)
            noise = rng.integers(-40, 41, (24, 24, 3))
            Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(
                tmp_path / domain / f"{i:02}.png"
            )
    images = load_domains(tmp_path, 24, strict=False)
    known, features = look_at(images)
    assert 0.25 < (known.belongs > 0).mean() < 0.75 and (known.belongs < STRANGE).any()
    assert "strange" not in {finding.check for finding in check_likeness(known, features, images)}


def test_no_progress_bar_of_cleanvision_is_a_widget():
    """In a notebook tqdm.auto would be one, and stay in its output."""
    from cleanvision.issue_managers import image_property_issue_manager
    from tqdm.std import tqdm

    from ganlib.doctor import looks  # noqa: F401

    assert image_property_issue_manager.tqdm is tqdm
