"""What would fail in every notebook of a report is told before the first runs."""

import numpy as np
import pytest
from PIL import Image

from ganlib.data.domains import load_domains
from ganlib.data.reading import count_files
from ganlib.errors import InputError
from ganlib.report import beforehand
from ganlib.report.__main__ import main
from ganlib.report.beforehand import check_beforehand
from ganlib.report.settings import find_settings, plan


def write(folder, **counts):
    """Pictures of noise, so many in each folder: write(f, train_cat=3) makes f/train/cat."""
    rng = np.random.default_rng(0)
    for name, n in counts.items():
        place = folder.joinpath(*name.split("_"))
        place.mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(place / f"{i}.png")
    return str(folder)


def planned(name="quick", **values):
    return plan(find_settings(name), {name: str(value) for name, value in values.items()})


@pytest.mark.parametrize("name", ["quick", "seeds", "short", "study", "full"])
def test_settings_that_come_with_ganlib_can_be_run(name):
    check_beforehand(planned(name))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"image_size": 30}, "image size 30x30: CycleGANGenerator needs a height and a width"),
        ({"image_size": "[48, 64]"}, "image_size 48x64: builtin faces are square"),
        ({"builtin_eval": 3}, "builtin_eval 3; 04_comparison needs 4 or more .* set it to 4"),
        ({"data": "nowhere"}, "data nowhere: no such folder or zip"),
    ],
)
def test_parameters_that_no_notebook_can_use(values, told):
    with pytest.raises(InputError, match=told) as caught:
        check_beforehand(planned(**values))
    assert "\n" not in str(caught.value)


def test_models_of_a_comparison_are_built_too(tmp_path):
    """From coarse to fine needs multiples of 8."""
    for model in ("{arch: cyclegan}", "{arch: cyclegan, coarse_until: 0.5}"):
        values = f"{{image_size: 36, models: [{model}]}}"
        text = f"notebooks: [{{notebook: 04_comparison, parameters: {values}}}]"
        (tmp_path / "mine.yaml").write_text(text)
        entries = plan(tmp_path / "mine.yaml", {})
        if "coarse" in model:
            with pytest.raises(InputError, match="36x36: CoarseToFine .* multiples of 8"):
                check_beforehand(entries)
        else:
            check_beforehand(entries)


def test_few_images_are_counted_before_they_are_read(tmp_path):
    few = write(tmp_path / "few", cat=12, dog=50)
    with pytest.raises(InputError, match="12 of cat and 50 of dog, which leaves 1 of a domain"):
        check_beforehand(planned(data=few))
    check_beforehand(planned(data=write(tmp_path / "enough", cat=40, dog=44)))
    own = write(tmp_path / "own", train_cat=3, train_dog=3, val_cat=4, val_dog=4)
    with pytest.raises(InputError, match="leaves 1 of a domain"):
        check_beforehand(planned(data=own))
    write(tmp_path / "own", test_cat=5, test_dog=4)
    check_beforehand(planned(data=own))
    with pytest.raises(InputError, match="expected two"):
        check_beforehand(planned(data=write(tmp_path / "one", cat=40)))


def test_counts_are_those_that_are_read(tmp_path):
    folder = write(tmp_path / "set", cat=23, dog=37)
    for _ in range(2):  # the second time by the manifest
        found = count_files(folder)
        images = load_domains(folder, 8)
        for name, column in zip(images.domains, (0, 1)):
            counts = {split: len(getattr(images, split)[column]) for split in found[name]}
            assert found[name] == counts


def test_data_of_the_hub_is_not_fetched_for_it(monkeypatch):
    monkeypatch.setattr(beforehand, "count_files", None)
    check_beforehand(planned(data="hf:owner/name"))


def test_report_that_cannot_be_made_leaves_nothing(tmp_path, capsys):
    assert main(["quick", "-p", "image_size", "30", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: image size 30x30") and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists() and said.out == ""
