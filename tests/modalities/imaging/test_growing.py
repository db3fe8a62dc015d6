"""A network that grows, images that an upsampler makes finer for it, sets that are balanced, and priors of ages."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from polyclinic import InputError, PatientProfile
from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.training.weights import Weights, load
from polyclinic.modalities.imaging import gaussian_prior
from polyclinic.modalities.imaging.data import read_images
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.growing import grown
from polyclinic.modalities.imaging.images import Images, balanced
from polyclinic.modalities.imaging.model import Denoiser, in_bands, network_of, network_tensors

from .test_few_steps import NETWORK, SIDE, batch, columns, config, discs

LARGE = 2 * SIDE


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small flow, and the images that it learnt from."""
    place = tmp_path_factory.mktemp("growing")
    data = discs(place / "data")
    path = config(place, kind="flow", network=NETWORK, prior={"rank": 8}, training={"steps": 40, "kept": [8]})
    train("imaging", data, place / "flow.safetensors", Privacy(), config=path)
    return place / "flow.safetensors", data


def restored(weights: Weights) -> Denoiser:
    net = Denoiser(len(weights.card.columns), network_of(weights.card)).eval()
    net.load_state_dict({name: tensor.float() for name, tensor in network_tensors(weights).items()})
    return net


@torch.no_grad()
def test_a_grown_network_moves_blocks_as_it_moved_pixels(flow: tuple[Path, Path]) -> None:
    small = load(flow[0])
    pixels = torch.randint(0, 256, (40, 1, LARGE, LARGE), dtype=torch.uint8)
    large = grown(small, LARGE, pixels)
    assert (large.card.model["size"], large.card.model["bands"]) == (LARGE, True)
    before, after = restored(small), restored(large)
    code, time, kept = torch.zeros(3, before.columns), torch.full((3,), 0.7), torch.full((3,), 8.0)
    x = torch.randn(3, 1, SIDE, SIDE)
    blocks = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    moved = before(x, time, code, kept).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(after(blocks, time, code, kept), moved, atol=1e-4, rtol=1e-3)
    some = (pixels.float() / 127.5 - 1) - (pixels.float() / 127.5 - 1).mean(0)
    weights = torch.randn(4, 12)
    source = after.source(torch.randn(4, 1, LARGE, LARGE), weights)
    torch.testing.assert_close(after.coordinates(source)[:, :4], weights[:, :4], atol=0.5, rtol=0.3)
    assert float(
        in_bands(source - after.source(torch.zeros_like(source), weights), 2)[1].std()
    ) == pytest.approx(float(in_bands(some, 2)[1].std()), rel=0.2)


def test_the_second_training_grows_the_network_and_says_what_enlarges_its_images(
    flow: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once with images of their own, once with those of an upsampler; both in the commands of a user."""
    path, data = flow
    upsampler = tmp_path / "finer.safetensors"
    how = config(
        tmp_path, kind="upsampler", network={"size": LARGE, "width": 4, "blocks": 1, "factor": 2},
        training={"steps": 2, "warmup": 1, "crop": 8},
    )  # fmt: skip
    train("imaging", data, upsampler, Privacy(), config=how)
    training = {
        "steps": 2, "judge_every": 1, "widths": [16], "detail_width": 4, "held_out": 0.3, "batch_size": 4,
    }  # fmt: skip
    few = config(
        tmp_path,
        kind="few_steps",
        network={"size": LARGE},
        training=training,
        shows={"body_part": "LEG"},
        prior={"rank": 8, "by": "age", "bounds": [50]},
    )
    train("imaging", data, tmp_path / "a.safetensors", Privacy(), config=few, init=str(path))
    made = load(tmp_path / "a.safetensors")
    assert (made.card.model["size"], made.card.model["patch_size"]) == (LARGE, 4)
    assert made.card.model["shows"]["body_part"] == "LEG"
    assert made.card.model["law"]["bounds"] == [50]
    assert made.tensors["law.root"].shape == (2, 8, 8)
    assert ImageGenerator(made, columns()).draw(batch(2)).shape == (2, 1, LARGE, LARGE)
    finer = discs(tmp_path / "finer", 75)
    stated = yaml.safe_load((finer / "dataset.yaml").read_text())
    stated["options"]["enlarge"] = "finer"
    (finer / "dataset.yaml").write_text(yaml.safe_dump(stated))
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(tmp_path))
    part = read_training_set(
        parse(DatasetConfig, {**stated, "path": "finer"}, "dataset.yaml"), tmp_path, "train"
    )
    drawn = Images.read([part], LARGE, 1).pixels.float()
    own = read_images(part, SIDE)[0] / 4095 * 255
    assert drawn.shape == (150, 1, LARGE, LARGE)
    assert np.abs(functional.avg_pool2d(drawn, 2).numpy() - own).mean() < 12
    train("imaging", finer, tmp_path / "c.safetensors", Privacy(), config=few, init=str(path))
    with pytest.raises(InputError, match=rf"options.enlarge: finer draws images of {LARGE} pixels"):
        Images.read([part], SIDE, 1)
    for prior in ({"rank": 13}, {"rank": 8, "critic": True}):
        wrong = config(tmp_path, kind="few_steps", training=training, prior=prior)
        with pytest.raises(InputError, match=r"model.prior: expected a rank up to 12, .* and no critic"):
            train("imaging", data, tmp_path / "d", Privacy(), config=wrong, init=str(path))
    again = config(tmp_path, kind="few_steps", network={"size": 2 * LARGE}, training=training)
    with pytest.raises(InputError, match="has not grown before"):
        train(
            "imaging",
            data,
            tmp_path / "b.safetensors",
            Privacy(),
            config=again,
            init=str(tmp_path / "a.safetensors"),
        )


@pytest.mark.parametrize("size", [SIDE + 4, 8 * SIDE, SIDE // 2])
def test_a_size_that_a_network_cannot_grow_to_is_refused(flow: tuple[Path, Path], size: int) -> None:
    with pytest.raises(InputError, match=f"cannot grow to {size}; expected twice or four times its size"):
        grown(load(flow[0]), size, torch.zeros(2, 1, size, size, dtype=torch.uint8))


def test_values_are_balanced_to_whole_numbers_and_unknown_ones_count_once() -> None:
    values = [True] * 3 + [False] * 10 + [None] * 2
    often = balanced(values)
    shown = Counter()
    for value, times in zip(values, often, strict=True):
        shown[value] += int(times)
    assert shown == {True: 9, False: 10, None: 2}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"balance": "age"}, "expected a condition or category of which two values are known"),
        ({"balance": "sex"}, "expected a condition or category of which two values are known"),
        ({"balance": "sexx"}, "options.balance"),
    ],
)
def test_what_cannot_be_balanced_is_refused(
    flow: tuple[Path, Path], tmp_path: Path, options: dict[str, str], said: str
) -> None:
    data = discs(tmp_path / "data", 30)
    stated = yaml.safe_load((data / "dataset.yaml").read_text())
    stated["options"] |= options
    (data / "dataset.yaml").write_text(yaml.safe_dump(stated))
    how = config(tmp_path, kind="flow", network=NETWORK, training={"steps": 1, "kept": [8]})
    with pytest.raises(InputError, match=said):
        train("imaging", data, tmp_path / "out.safetensors", Privacy(), config=how)
    with pytest.raises(InputError, match="works in public training of kind flow and few_steps"):
        train(
            "imaging",
            data,
            tmp_path / "out.safetensors",
            Privacy(8, 1e-3, tmp_path / "ledger.jsonl"),
            config=how,
        )


def people(ages: list[float | None]) -> list[PatientProfile]:
    return [PatientProfile(str(i), age=age) for i, age in enumerate(ages)]


def test_ages_on_two_sides_of_a_bound_have_priors_of_their_own() -> None:
    random = np.random.default_rng(0)
    ages = [float(a) for a in random.uniform(0, 12, 600)]
    z = np.where(np.array(ages)[:, None] < 6, -5.0, 5.0) + random.standard_normal((600, 3))
    settings = gaussian_prior.PriorSettings(rank=3, by="age", bounds=(6,), mixture=(2, 1))
    known = people(list(ages))
    prior = gaussian_prior.fit_public(z, np.zeros((600, 0), np.float32), known, settings)
    assert prior.values == (0, 0, 1)
    prior = gaussian_prior.GaussianPrior.restore(prior.header(), prior.tensors())
    blank = np.zeros(0, np.float32)
    for age, middle in ((0.0, -5), (5.9, -5), (6.0, 5), (90.0, 5)):
        drawn = [prior.draw(people([age])[0], blank, random) for _ in range(100)]
        assert np.mean(drawn) == pytest.approx(middle, abs=0.5)
    often = np.where(np.array(ages) < 6, 9, 1)
    prior = gaussian_prior.fit_public(z, np.zeros((600, 0), np.float32), known, settings, often=often)
    drawn = [prior.draw(people([None])[0], blank, random)[0] for _ in range(400)]
    assert np.mean(np.array(drawn) < 0) == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "sex", "bounds": [6]}, "sex is no number"),
        ({"by": "age", "bounds": [6], "mixture": [2]}, "expected one number for each of 2 classes"),
    ],
)
def test_bounds_and_mixtures_that_do_not_fit_are_refused(settings: dict[str, object], said: str) -> None:
    rows = people([1.0, 2.0, 7.0, 8.0])
    with pytest.raises(InputError, match=said):
        gaussian_prior.fit_public(
            np.zeros((4, 3)), np.zeros((4, 0), np.float32), rows,
            gaussian_prior.PriorSettings.model_validate({"rank": 3, **settings}),
        )  # fmt: skip
    for bounds in ([6, 6], [7, 6]):
        with pytest.raises(ValueError, match="bounds must rise"):
            gaussian_prior.PriorSettings.model_validate({"by": "age", "bounds": bounds})
    with pytest.raises(ValueError, match="`by` must name their number"):
        gaussian_prior.PriorSettings(bounds=(6,))
