"""Two processes (gloo) learn what one does: batches are shared, noise is added once, one process writes."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset
from two_ranks import RATE, ROWS, Plane, Told

from polyclinic.core.dp.budget import PrivacyPlan
from polyclinic.core.dp.dpsgd import PatientSampler
from polyclinic.core.errors import InputError
from polyclinic.core.training import trainer
from polyclinic.core.training.fit import Fit, Outcome
from polyclinic.core.training.trainer import fit, require_devices

STEPS = 4
PEOPLE = [f"p{row // 2}" for row in range(ROWS)]  # two rows each
IDLE = 100_000  # numbers that only noise moves


def trained(place: Path, devices: int, module: Plane, **private: object) -> tuple[Outcome, Plane]:
    place.mkdir()
    how = Fit(place, devices=devices, accelerator="cpu", precision="32-true", progress=False, seed=3)
    data = Told(str(place / "rows"))
    return fit(module, data, how, name="plane", steps=STEPS, batch_size=ROWS, ema=None, **private), module  # type: ignore[arg-type]


def test_two_processes_share_each_batch_and_learn_what_one_does(tmp_path: Path) -> None:
    one, alone = trained(tmp_path / "one", 1, Plane())
    two, shared = trained(tmp_path / "two", 2, Plane())
    assert (one.steps, two.steps) == (STEPS, STEPS)
    assert torch.allclose(alone.line.weight, shared.line.weight, atol=1e-5)
    assert bool(alone.line.weight.any())
    rows = (tmp_path / "two" / "rows").read_text().split()
    assert sorted(map(int, rows)) == sorted(
        STEPS * list(range(ROWS))
    )  # each row once an epoch, in one process
    assert two.loss == pytest.approx(one.loss, rel=0.5)
    assert [path.name for path in (tmp_path / "two" / "plane").iterdir()] == ["last.ckpt"]
    assert not list((tmp_path / "two").glob(".*"))


def test_private_steps_of_two_processes_are_those_of_one_with_noise_added_once(tmp_path: Path) -> None:
    people, noise = [str(row) for row in range(ROWS)], 1e-3
    plan = PrivacyPlan(ROWS, 1.0, noise, STEPS, 1e-4, 0.5)  # everybody in each step
    _, alone = trained(tmp_path / "one", 1, Plane(), plan=plan, patients=people)
    _, shared = trained(tmp_path / "two", 2, Plane(idle=IDLE), plan=plan, patients=people)
    step = RATE * noise * 0.5 / ROWS  # rate x noise x bound over the expected patients
    assert torch.allclose(alone.line.weight, shared.line.weight, atol=20 * step)
    assert float(alone.line.weight.detach().norm()) > 1000 * step
    assert shared.rest is not None
    annealed = np.array([0.5 * (1 + np.cos(np.pi * taken / STEPS)) for taken in range(STEPS)])
    # were it added by each process, 1.41 times
    assert float(shared.rest.weight.detach().std()) == pytest.approx(
        step * float(np.linalg.norm(annealed)), rel=0.02
    )
    rows = (tmp_path / "two" / "rows").read_text().split()
    assert sorted(map(int, rows)) == sorted(STEPS * list(range(ROWS)))


def test_what_is_wrong_in_another_process_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^row 7: no number$"):
        trained(tmp_path / "fault", 2, Plane(fault=True))


@pytest.mark.parametrize("world", [2, 3])
def test_poisson_batches_of_all_processes_together_are_one_of_all_patients(world: int) -> None:
    steps, rate = 3000, 0.2
    samplers = [
        PatientSampler(PEOPLE, rate, steps, np.random.default_rng(rank), rank, world) for rank in range(world)
    ]
    owned = [{PEOPLE[row] for own in sampler.rows for row in own} for sampler in samplers]
    assert sum(map(len, owned)) == len(set().union(*owned)) == len(set(PEOPLE))
    together = zip(*samplers, strict=True)
    batches = [{PEOPLE[row] for part in parts for row in part} for parts in together]
    taken = np.array([[f"p{place}" in batch for place in range(ROWS // 2)] for batch in batches])
    assert taken.mean(0) == pytest.approx(rate, abs=5 * (rate * (1 - rate) / steps) ** 0.5)
    sizes = taken.sum(1)  # binomial: independent patients
    assert sizes.var() == pytest.approx(rate * (1 - rate) * ROWS / 2, rel=0.15)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"accelerator": "gpu"}, "--accelerator gpu --devices 1 --precision auto: "),
        ({"accelerator": "abacus"}, "--accelerator abacus"),
        ({"precision": "7-bit"}, "--precision 7-bit"),
    ],
)
def test_what_the_machine_lacks_is_told_before_training(
    asked: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        require_devices(Fit(tmp_path, **asked))  # type: ignore[arg-type]


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_half_precision_is_for_processors_that_compute_in_it(
    fast: bool, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Recorder(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            seen.append(str(self.trainer.precision))
            return (batch[0] * self.weight).sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    monkeypatch.setattr(trainer, "half_is_fast", lambda device: fast)
    data = TensorDataset(torch.ones(4, 1))
    fit(Recorder(), data, Fit(tmp_path, accelerator="cpu", progress=False), name="x", steps=1, batch_size=2)
    assert seen == [precision]


def test_processes_of_a_scheduler_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match=r"started in 4 processes \(WORLD_SIZE\); start it once"):
        require_devices(Fit(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "1")
    require_devices(Fit(tmp_path, accelerator="cpu", devices=2))
