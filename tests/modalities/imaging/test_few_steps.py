"""Few evaluations in place of many of a flow: what critics teach, what the card says, how it is drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from polyclinic import Batch, InputError, PatientProfile, ProfileEncoder
from polyclinic.app.training import Privacy, train
from polyclinic.core.fields import FIELDS
from polyclinic.core.training.weights import load
from polyclinic.modalities.imaging.critics import DetailCritic, WholeCritic, detail, varied
from polyclinic.modalities.imaging.few_steps import FewStepsTraining, ImageGame, fitting
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.model import Denoiser, ImageModel
from polyclinic.modalities.imaging.sampler import draw, few_steps, times

SIDE = 16
NETWORK = {"size": SIDE, "widths": [16, 32], "attention": [False, False], "head": 16, "components": 12}
SMALL = ImageModel.model_validate(NETWORK)


def discs(place: Path, patients: int = 150) -> Path:
    """Discs on a grey ground with a little noise, two for each patient."""
    random = np.random.default_rng(0)
    place.mkdir()
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    rows = []
    for n in range(2 * patients):
        at, radius = random.uniform(0.35, 0.65, 2), random.uniform(0.2, 0.35)
        image = 60 + 120 * (np.hypot(x - at[0], y - at[1]) < radius) + 8 * random.standard_normal(x.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(place / f"{n}.png")
        rows.append({"patient_id": f"P{n // 2}", "record": f"{n}.png"})
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    known = {
        "name": "made up", "licence": "CC0", "split": None, "test_share": 0,
        "options": {"modality": "imaging", "shows": {"body_part": "CHEST"}, "prior": True},
    }  # fmt: skip
    (place / "dataset.yaml").write_text(yaml.safe_dump(known))
    return place


def config(place: Path, **model: object) -> str:
    path = place / f"{model['kind']}.yaml"
    path.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A flow, and what critics made of it, both by the commands of a user."""
    place = tmp_path_factory.mktemp("few")
    data = discs(place / "data")
    flow = config(place, kind="flow", network=NETWORK, prior={"rank": 8}, training={"steps": 80, "kept": [8]})
    few = config(
        place, kind="few_steps",
        training={
            "steps": 60, "judge_every": 30, "widths": [16, 32], "detail_width": 8, "held_out": 0.3, "ema": 0.9,
            "learning_rate": 2e-3, "critic_rate": 2e-3,
        },
    )  # fmt: skip
    out = {"flow": place / "flow.safetensors", "few": place / "few.safetensors", "data": data}
    train("imaging", data, out["flow"], Privacy(), config=flow)
    train("imaging", data, out["few"], Privacy(), config=few, init=str(out["flow"]))
    return out


def batch(rows: int) -> Batch:
    people = tuple(PatientProfile(str(n)) for n in range(rows))
    return Batch(people, ProfileEncoder(FIELDS).encode(people), tuple(range(rows)))


def columns() -> Sequence[str]:
    return ProfileEncoder(FIELDS).columns


def test_the_card_says_how_many_evaluations_and_how_well(made: dict[str, Path]) -> None:
    flow, few = (load(made[name]).card for name in ("flow", "few"))
    assert few.kind == flow.kind
    assert (few.model["evaluations"], few.model["evaluations_from"]) == (2, [8])
    assert few.columns == flow.columns
    assert {one.name for one in few.data} == {"made up"}
    assert not torch.equal(*(load(made[name]).tensors["unet.conv_in.weight"] for name in ("flow", "few")))
    assert few.figures["c2st_auc_few_steps"] <= few.figures["c2st_auc_before"] + 0.05


@pytest.mark.parametrize(("name", "calls"), [("flow", 8), ("few", 2)])
def test_so_many_evaluations_draw_an_image(made: dict[str, Path], name: str, calls: int) -> None:
    generator = ImageGenerator(load(made[name]), columns())
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    generator.net.register_forward_hook(count)
    images = generator.draw(batch(3))
    assert images.shape == (3, 1, SIDE, SIDE)
    assert counted == calls


def test_a_network_of_few_steps_draws_each_row_as_alone(made: dict[str, Path]) -> None:
    generator = ImageGenerator(load(made["few"]), columns())
    together, whole = generator.draw(batch(5)), batch(5)
    alone = Batch(whole.profiles[2:3], whole.condition[2:3], whole.seeds[2:3])
    np.testing.assert_array_equal(generator.draw(alone)[0], together[2])


def test_the_discs_are_where_the_coarse_image_wants_them(made: dict[str, Path]) -> None:
    weights = load(made["few"])
    generator = ImageGenerator(weights, columns())
    assert generator.prior is not None
    coarse = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32) * 0.7
    drawn = draw(
        generator.net,
        np.zeros((64, len(weights.card.columns)), np.float32),
        range(64),
        SMALL,
        coarse,
        2,
        jumps=True,
    )
    found = generator.net.coordinates(torch.from_numpy(drawn))[:, :8].numpy()
    assert np.corrcoef(found[:, 0], coarse[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_a_network_that_knows_the_way_jumps_to_its_end(evaluations: int) -> None:
    """The velocity of a straight way is source - image everywhere on it."""
    image, source = torch.randn(2, 3, 1, 4, 4)

    class Straight(nn.Module):
        def forward(self, x: Tensor, time: Tensor, condition: Tensor, kept: Tensor) -> Tensor:
            t = time[:, None, None, None]
            torch.testing.assert_close(x, (1 - t) * image + t * source)
            return source - image

    torch.testing.assert_close(few_steps(Straight(), source, torch.zeros(3, 0), 0, evaluations), image)
    assert times(evaluations)[0] == 1


def test_what_is_asked_of_few_steps_and_cannot_be_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    few = config(tmp_path, kind="few_steps")
    out = tmp_path / "out.safetensors"
    with pytest.raises(InputError, match="name its weights: --init FILE"):
        train("imaging", made["data"], out, Privacy(), config=few)
    with pytest.raises(InputError, match="few_steps learns from public images alone"):
        train(
            "imaging",
            made["data"],
            out,
            Privacy(8, 1e-3, tmp_path / "ledger.jsonl"),
            config=few,
            init=str(made["flow"]),
        )
    for kept, said in (
        ([8, 13], "expected numbers of components from 0 to 12"),
        ([12], "expected 8 among them"),
        ([], "expected 8 among them"),
    ):
        wrong = config(tmp_path, kind="few_steps", training={"kept": kept})
        with pytest.raises(InputError, match=rf"model.training.kept: .*{said}"):
            train("imaging", made["data"], out, Privacy(), config=wrong, init=str(made["flow"]))
    for kept in ([], [0, 13]):
        wrong = config(tmp_path, kind="flow", network=NETWORK, training={"steps": 1, "kept": kept})
        with pytest.raises(
            InputError, match=r"model.training.kept: .*expected numbers of components from 0 to 12"
        ):
            train("imaging", made["data"], out, Privacy(), config=wrong)
    bad = config(tmp_path, kind="few_steps", training={"held_out": 0.01})
    with pytest.raises(InputError, match="images are held out to judge, expected 40 or more"):
        train("imaging", made["data"], out, Privacy(), config=bad, init=str(made["flow"]))
    assert not out.exists()


def game(settings: FewStepsTraining) -> tuple[ImageGame, list[Tensor]]:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (32, 1, SIDE, SIDE), dtype=torch.uint8)
    net = Denoiser(3, SMALL)
    net.fit_source(pixels.float() / 127.5 - 1)
    drawn = torch.full((32, 2, 8), 3.0)
    drawn[:16] = torch.nan
    return ImageGame(net, settings, 8, pixels), [pixels, torch.zeros(32, 3), drawn]


def test_coarse_images_are_the_prior_s_where_it_drew_some_and_else_the_row_s_own() -> None:
    table, rows = game(FewStepsTraining(from_prior=1, widths=(16,), detail_width=4))
    _, coarse = table.drawn(table.generator, rows)
    assert (coarse[16:] == 3).all()
    own = table.generator.coordinates(rows[0].float() / 127.5 - 1)[:16, :8]
    torch.testing.assert_close(coarse[:16], own)
    assert float(table.cost(table.drawn(table.generator, rows), rows).detach()) > 0


def test_a_batch_shares_one_of_the_numbers_of_components_that_are_asked_for() -> None:
    table, rows = game(FewStepsTraining(kept=(8, 12), from_prior=1, widths=(16,), detail_width=4))
    own = table.generator.coordinates(rows[0].float() / 127.5 - 1)
    seen = set()
    for _ in range(24):
        _, coarse = table.drawn(table.generator, rows)
        seen.add(coarse.shape[1])
        if coarse.shape[1] == 12:  # more than the prior draws: all are the row's own
            torch.testing.assert_close(coarse, own)
        else:
            assert (coarse[16:] == 3).all()
    assert seen == {8, 12}


def test_only_the_last_evaluation_learns() -> None:
    table, rows = game(FewStepsTraining(evaluations=4, widths=(16,), detail_width=4))
    calls: list[bool] = []
    table.generator.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    for _ in range(6):
        calls.clear()
        image, _ = table.drawn(table.generator, rows)
        assert calls == [False] * (len(calls) - 1) + [True]
        assert image.requires_grad


@pytest.mark.parametrize(
    "critic",
    [WholeCritic(1, SIDE, 3, fitting((16, 32, 64), SIDE // 2), 2), DetailCritic(1, SIDE, 3, 4)],
    ids=["whole", "detail"],
)
def test_critics_know_the_code_of_a_profile_and_no_gradient_reaches_it(critic: nn.Module) -> None:
    view = torch.randn(4, SIDE * SIDE + 3, requires_grad=True)
    scores = critic(view)
    other = torch.cat([view[:, :-3], view[:, -3:] + 1], dim=1)
    assert float((critic(other) - scores).detach().abs().min()) > 0
    (slope,) = torch.autograd.grad(scores.sum(), view)
    assert float(slope[:, : SIDE * SIDE].abs().max()) > 0
    assert float(slope[:, SIDE * SIDE :].abs().max()) == 0


@pytest.mark.parametrize("side", [8, 16, 28, 64])
def test_critics_take_images_of_any_side(side: int) -> None:
    widths = fitting((16, 32, 64), side)
    assert WholeCritic(2, side, 0, widths, 1)(torch.randn(3, 2 * side * side)).shape == (3,)
    assert DetailCritic(2, side, 0, 4)(torch.randn(3, 2 * side * side)).shape == (3,)


def test_a_flat_image_has_no_detail_and_stays_flat_where_it_is_not_covered() -> None:
    flat = torch.full((6, 1, 20, 20), 0.25)
    assert float(detail(flat).abs().max()) < 1e-6
    moved = varied(flat)
    for image in moved:
        assert len(image[image != 0].unique()) == 1
