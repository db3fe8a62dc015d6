"""Adversarial training on made numbers: critics separate, a shifted generator comes home, noise teaches nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic.core.training.adversarial import Adversarial, AdversarialTraining, pairing, penalty
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit

FAR = 1.5  # the prior's distance from the data, in standard deviations, in each of two numbers


class Shift(nn.Module):
    """Starts at the prior: nothing is added."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class Points(nn.Module):
    """Rows are a patient's two numbers and the prior's; two critics see both numbers, and their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.dear = Shift(), 0.0
        self.critics = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Flatten(0))
            for width in (2, 1)
        )

    def real(self, batch: Sequence[Tensor]) -> Tensor:
        return batch[0]

    def drawn(self, generator: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        made = generator(batch[1])
        assert isinstance(made, Tensor)
        return made

    def views(self, sample: Tensor, batch: Sequence[Tensor]) -> list[Tensor]:
        return [sample, sample.sum(1, keepdim=True)]

    def cost(self, sample: Tensor, batch: Sequence[Tensor]) -> Tensor:
        return self.dear * sample.square().mean()


def rows(count: int = 2000, noise: bool = False) -> TensorDataset:
    """Patients around 0, the prior around FAR; with `noise`, noise where patients should be."""
    random = torch.Generator().manual_seed(0)
    real = torch.randn(count, 2, generator=random)
    if noise:
        real = 6 * torch.rand(count, 2, generator=random) - 6
    return TensorDataset(real, FAR + torch.randn(count, 2, generator=random))


def distance(generator: nn.Module) -> float:
    """How far the drawn mean is from that of other patients."""
    made = generator(FAR + torch.randn(4000, 2, generator=torch.Generator().manual_seed(1)))
    return float(made.mean(0).abs().max())


def train(
    folder: Path, judge: Callable[[nn.Module], float] | None = None, noise: bool = False, **settings: float
) -> Adversarial:
    torch.manual_seed(0)
    plan = AdversarialTraining.model_validate(
        {"steps": 200, "batch_size": 64, "learning_rate": 0.04, "critic_rate": 0.02, "ema": 0.9, **settings}
    )
    module = Adversarial(Points(), plan, judge)
    how = Fit(folder, accelerator="cpu", precision="32-true", progress=False)
    fit(module, rows(noise=noise), how, name="points", steps=plan.steps, batch_size=plan.batch_size, ema=None)
    return module


def test_critics_separate_what_differs(tmp_path: Path) -> None:
    module = train(tmp_path, learning_rate=1e-9)
    real, drawn = rows().tensors
    for critic, ours, theirs in zip(
        module.game.critics, *(module.game.views(part, ()) for part in (drawn, real)), strict=True
    ):
        assert (critic(theirs) > critic(ours)).float().mean() > 0.85


@pytest.mark.parametrize("every", [1, 4])
def test_a_shifted_generator_comes_home(tmp_path: Path, every: int) -> None:
    module = train(tmp_path, distance, judge_every=50, penalty_every=every)
    assert module.scores[0] == (0, pytest.approx(FAR, abs=0.1))
    assert distance(module.best) < 0.25
    assert float(module.best_score) == pytest.approx(distance(module.best), abs=1e-5)


def test_critics_fed_noise_in_place_of_patients_leave_the_prior(tmp_path: Path) -> None:
    """What they teach is far from patients, and validation refuses it."""
    module = train(tmp_path, noise=True)
    assert distance(module.best) > 1  # unjudged, as trained
    judged = train(tmp_path, distance, noise=True, judge_every=200)
    assert len(judged.scores) == 2
    kept = FAR if judged.scores[1][1] > judged.scores[0][1] else judged.scores[1][1]
    assert distance(judged.best) == pytest.approx(kept, abs=0.1)


def test_validation_ends_a_training_that_does_not_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = iter(range(100))
    module = train(tmp_path, lambda _: float(next(worse)), judge_every=20, patience=2)
    assert module.finished
    assert module.global_step == 40
    assert torch.equal(module.best.by, torch.zeros(2))  # the prior, as judged first
    assert "max-minutes" not in capsys.readouterr().err


def test_pairs_that_nothing_separates_cost_log_two() -> None:
    same = torch.randn(50)
    assert float(pairing(same, same)) == pytest.approx(torch.log(torch.tensor(2.0)).item())
    assert float(pairing(same + 1, same)) < float(pairing(same, same)) < float(pairing(same, same + 1))


def test_the_generator_pays_its_cost() -> None:
    module = Adversarial(Points(), AdversarialTraining())
    batch = [part[:32] for part in rows().tensors]
    free = module.generator_loss(batch)
    module.game.dear = 2.0
    torch.testing.assert_close(
        module.generator_loss(batch) - free, 2 * batch[1].square().mean(), atol=0.5, rtol=0
    )


def test_penalties_that_steps_share_weigh_the_same() -> None:
    """Every fourth step has four times the penalty, the others none."""
    losses = {}
    for every in (1, 4):
        torch.manual_seed(0)
        module = Adversarial(Points(), AdversarialTraining(noise=0, penalty_every=every))
        total, plain = module.critic_loss([part[:64] for part in rows().tensors])
        losses[every] = float((total - 2 * plain).detach())  # of two critics
    assert losses[4] == pytest.approx(4 * losses[1], rel=1e-4)


def test_the_penalty_is_the_squared_slope() -> None:
    critic = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))
    found = penalty(critic, torch.randn(7, 3))[1]
    torch.testing.assert_close(found, critic[0].weight.square().sum())
