"""A network that grows, images that an upsampler makes finer for it, sets that are balanced, and priors of ages."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from polyclinic import InputError, PatientProfile
from polyclinic.app.cli import main
from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training.weights import Weights, load
from polyclinic.modalities.imaging import gaussian_prior
from polyclinic.modalities.imaging.data import read_images
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.growing import Following, grown, lessons
from polyclinic.modalities.imaging.images import Images, balanced
from polyclinic.modalities.imaging.model import Denoiser, network_of, network_tensors

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


def blocks(images: torch.Tensor) -> torch.Tensor:
    """Each pixel twice as large."""
    return images.repeat_interleave(2, 2).repeat_interleave(2, 3)


def restored(weights: Weights) -> Denoiser:
    net = Denoiser(len(weights.card.columns), network_of(weights.card)).eval()
    net.load_state_dict({name: tensor.float() for name, tensor in network_tensors(weights).items()})
    return net


@torch.no_grad()
def test_a_grown_network_moves_blocks_as_it_moved_pixels(flow: tuple[Path, Path]) -> None:
    small = load(flow[0])
    large = grown(small, LARGE)
    assert (large.card.model["size"], large.card.model["blocks"]) == (LARGE, True)
    before, after = restored(small), restored(large)
    code, time, kept = torch.zeros(3, before.columns), torch.full((3,), 0.7), torch.full((3,), 8.0)
    x = torch.randn(3, 1, SIDE, SIDE)
    moved = before(x, time, code, kept)
    torch.testing.assert_close(after(blocks(x), time, code, kept), blocks(moved), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_the_source_of_a_grown_network_is_the_small_one_s_without_anything_finer(
    flow: tuple[Path, Path],
) -> None:
    small = load(flow[0])
    before, after = restored(small), restored(grown(small, LARGE))
    white, weights = torch.randn(300, 1, SIDE, SIDE), torch.randn(300, 12)
    plain = after.source(torch.zeros(300, 1, LARGE, LARGE), weights)
    source = after.source(white, weights)
    torch.testing.assert_close(source - plain, blocks(before.rest * white), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        functional.avg_pool2d(source, 2), before.source(white, weights), atol=0.15, rtol=0.1
    )
    large = after.source(torch.randn(300, 1, LARGE, LARGE), weights) - plain
    assert float(large.std()) == pytest.approx(float(before.rest), rel=0.02)
    torch.testing.assert_close(blocks(functional.avg_pool2d(large, 2)), large, atol=1e-5, rtol=1e-4)


def test_a_grown_network_learns_to_draw_what_the_small_one_draws(flow: tuple[Path, Path]) -> None:
    weights = load(flow[0])
    small = ImageGenerator(weights, columns())
    pixels = torch.randint(0, 256, (64, 1, LARGE, LARGE), dtype=torch.uint8)
    code = torch.zeros(64, len(weights.card.columns))
    lesson = lessons(small, pixels, code, torch.full((64, 8), torch.nan), list(range(64)))
    white, own, _, wanted = lesson.tensors
    assert (white.shape, wanted.shape) == ((64, 1, SIDE, SIDE), (64, 1, LARGE, LARGE))
    images = functional.avg_pool2d(pixels.float() / 127.5 - 1, 2)
    torch.testing.assert_close(own[:, :8].float(), small.net.coordinates(images)[:, :8], atol=0.01, rtol=0.01)
    module = Following(restored(grown(weights, LARGE)).train(), 2, 8, 10.0)
    optimizer = module.configure_optimizers()
    module.log = lambda *_: None  # type: ignore[method-assign]
    lost = []
    for _ in range(20):
        loss = module.training_step(lesson.tensors, 0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        lost.append(float(loss.detach()))
    assert lost[-1] < 0.8 * lost[0]


@pytest.mark.filterwarnings("ignore:model.prior.bounds. nobody's age")
def test_the_second_training_grows_the_network_and_says_what_enlarges_its_images(
    flow: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once with images of their own, once with those of an upsampler; both in the commands of a user."""
    path, data = flow
    monkeypatch.setattr("polyclinic.modalities.imaging.few_steps_training.LESSONS", 32)
    upsampler = tmp_path / "finer.safetensors"
    how = config(
        tmp_path, kind="upsampler", network={"size": LARGE, "width": 4, "blocks": 1, "factor": 2},
        training={"steps": 2, "warmup": 1, "crop": 8},
    )  # fmt: skip
    train("imaging", data, upsampler, Privacy(), config=how)
    training = {
        "steps": 2, "following": 2, "judge_every": 1, "widths": [16], "detail_width": 4, "held_out": 0.3,
        "batch_size": 4,
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
    alone = config(tmp_path, kind="few_steps", network={"size": LARGE}, training={**training, "steps": 0})
    train("imaging", data, tmp_path / "e.safetensors", Privacy(), config=alone, init=str(path))
    followed = load(tmp_path / "e.safetensors").card
    assert (followed.steps, followed.model["evaluations"], followed.model["evaluations_from"]) == (2, 2, [8])
    figures = followed.figures
    assert figures["c2st_auc_few_steps"] == figures["c2st_auc_before"]
    refit = config(
        tmp_path, kind="flow", prior={"rank": 8, "by": "age", "bounds": [40]}, training={"steps": 0}
    )
    start = str(tmp_path / "e.safetensors")
    words = ["train", "imaging", "--public", "--data", data, "--config", refit, "--init", start]
    monkeypatch.setattr(
        "sys.argv", ["polyclinic", *map(str, words), "--out", str(tmp_path / "f.safetensors")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    again = load(tmp_path / "f.safetensors").card
    assert (again.model["law"]["bounds"], again.model["size"], again.model["refine"]) == ([40], LARGE, 24)
    assert "the network of --init" in capsys.readouterr().out
    onto = tmp_path / "g.safetensors"  # --out takes the place of --init, whose card is gone then
    onto.write_bytes(path.read_bytes())
    more = config(tmp_path, kind="flow", network=NETWORK, training={"steps": 1, "kept": [8]})
    words = ["train", "imaging", "--public", "--data", data, "--config", more, "--init", onto, "--out", onto]
    monkeypatch.setattr("sys.argv", ["polyclinic", *map(str, words), "--overwrite"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "imaging: 1 step in " in capsys.readouterr().out
    nothing = config(tmp_path, kind="few_steps", training={**training, "steps": 0})
    with pytest.raises(InputError, match=r"model.training.steps: 0, but only a network that grows"):
        train("imaging", data, tmp_path / "d", Privacy(), config=nothing, init=str(path))
    wrong = config(tmp_path, kind="few_steps", training=training, prior={"rank": 13})
    with pytest.raises(InputError, match=r"model.prior.rank: 13, expected 12 or fewer"):
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
    with pytest.raises(InputError, match=f"cannot grow to {size}; expected {2 * SIDE} or {4 * SIDE}$"):
        grown(load(flow[0]), size)


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
        ({"enlarge": "nope"}, "options.enlarge: no weights 'nope'; there are .*imaging_upsampler"),
        (
            {"enlarge": "imaging"},
            "options.enlarge: weights imaging are a flow-matching U-Net; expected an adv",
        ),
        ({"enlarge": "imaging_skin_upsampler"}, r"enlarges images of 3 channel\(s\), these have 1"),
    ],
)
def test_what_cannot_be_balanced_or_enlarged_is_refused_before_images_are_read(
    flow: tuple[Path, Path], tmp_path: Path, options: dict[str, str], said: str
) -> None:
    data = discs(tmp_path / "data", 30)
    stated = yaml.safe_load((data / "dataset.yaml").read_text())
    stated["options"] |= options
    (data / "dataset.yaml").write_text(yaml.safe_dump(stated))
    next(data.rglob("*.png")).write_bytes(b"no image")
    how = config(tmp_path, kind="flow", network=NETWORK, training={"steps": 1, "kept": [8]})
    with pytest.raises(InputError, match=said):
        train("imaging", data, tmp_path / "out.safetensors", Privacy(), config=how)
    if "enlarge" in options:
        return
    private = Privacy(8, 1e-3, tmp_path / "ledger.jsonl")
    with pytest.raises(InputError, match="works in public training of kind flow and few_steps"):
        train("imaging", data, tmp_path / "out.safetensors", private, config=how)


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


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ({"bounds": [6, 6]}, r"model: prior.bounds: expected numbers that rise, got \[6.0, 6.0\]"),
        ({"bounds": [6]}, "model.prior.bounds: of which number"),
        ({"by": "nope"}, "nope"),
        ({"by": "age"}, "age is a number"),
        ({"by": "sex", "bounds": [6]}, "sex is no number"),
        ({"mixture": [2, 1]}, "expected one number for each of 1 classes"),
        ({"by": "age", "bounds": [6], "mixture": [2, 1, 1]}, "expected one number for each of 2 classes"),
    ],
)
@pytest.mark.parametrize("kind", ["flow", "few_steps"])
def test_a_prior_that_cannot_be_is_refused_before_anything_is_learnt(
    flow: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, prior: dict[str, object],
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", lambda *_, **__: pytest.fail("it learns"))
    network = {"network": NETWORK} if kind == "flow" else {}
    how = config(tmp_path, kind=kind, prior={"rank": 4, **prior}, **network)
    with pytest.raises(InputError, match=said):
        train("imaging", flow[1], tmp_path / "out.safetensors", Privacy(), config=how, init=str(flow[0]))


def test_images_are_not_to_be_enlarged_by_weights_that_are_not_there(
    flow: tuple[Path, Path], tmp_path: Path
) -> None:
    how = config(tmp_path, kind="flow", network=NETWORK, shows={"upsampler": "nope"})
    with pytest.raises(
        InputError, match=r"model.shows.upsampler: no weights 'nope'; there are .*imaging_upsampler"
    ):
        train("imaging", flow[1], tmp_path / "out.safetensors", Privacy(), config=how)


def test_a_part_of_which_nobody_is_has_the_prior_of_all_and_that_is_told() -> None:
    settings = gaussian_prior.PriorSettings(rank=2, by="age", bounds=(500,))
    rows = people([1.0, 2.0, 7.0, 8.0, 9.0, 10.0])
    with pytest.warns(DataWarning, match="nobody's age is in part 2 of 2; it has the prior of all"):
        prior = gaussian_prior.fit_public(np.zeros((6, 2)), np.zeros((6, 0), np.float32), rows, settings)
    np.testing.assert_array_equal(prior.root[0], prior.root[1])
