"""Patient-level DP-SGD: the sampler, the clipping, the noise, the plan and the ledger."""

import json
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic.core.errors import BudgetExceeded, InputError
from polyclinic.core.privacy import Budget, Ledger, PatientSampler, PrivacyPlan, Private, compose
from polyclinic.core.train import Fit, fit

PLAN = PrivacyPlan(
    patients=100, sample_rate=0.3, noise_multiplier=1.0, steps=40, delta=1e-3, max_grad_norm=1.0
)


class Slope(pl.LightningModule):
    """y = w x, by squared error a row."""

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.line.weight)
        self.rate = rate

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.line(batch[0]) - batch[1]).square().mean(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def plan(**changes: float) -> PrivacyPlan:
    return PrivacyPlan(**{**vars(PLAN), **changes})  # type: ignore[arg-type]


def learn(tmp_path: Path, how: PrivacyPlan, patients: list[str], micro: int = 16) -> float:
    """The slope learnt from y = 2 x with one row a listed patient."""
    x = torch.linspace(-1, 1, len(patients))[:, None]
    module = Slope()
    run = Fit(folder=tmp_path, precision="32-true", accelerator="cpu", progress=False)
    fit(
        module, TensorDataset(x, 2 * x), run, name="slope", steps=0, batch_size=micro,
        plan=how, patients=patients, ema=None,
    )  # fmt: skip
    return float(module.line.weight.detach())


PEOPLE = [str(i) for i in range(100)]


def test_little_noise_learns_and_a_thousandfold_destroys(tmp_path: Path) -> None:
    quiet = learn(tmp_path, plan(noise_multiplier=0.01, steps=150), PEOPLE)
    assert quiet == pytest.approx(2, abs=0.4)
    loud = [learn(tmp_path, plan(noise_multiplier=1000.0, steps=150), PEOPLE) for _ in range(5)]
    assert max(abs(w - 2) for w in loud) > 10  # one in five may come close by chance
    assert loud[0] != loud[1]  # noise is not seeded by anything a reader of the code knows


def test_micro_batches_do_not_change_the_sum() -> None:
    """One logical batch of 20 in micro-batches of 20, 7 and 1: the same clipped sum, noise apart."""
    x = torch.linspace(-1, 1, 20)[:, None]
    sums = []
    for micro in (20, 7, 1):
        module = Slope()
        private = Private(module, plan(patients=20, noise_multiplier=0.0), PEOPLE[:20], micro)
        optimizer = private.configure_optimizers()
        for start in range(0, 20, micro):
            module.losses((x[start : start + micro], 2 * x[start : start + micro])).sum().backward()
            optimizer.signal_skip_step(do_skip=start + micro < 20)
            optimizer.step()
            optimizer.zero_grad()
        private.on_fit_end()
        sums.append(float(module.line.weight.detach()))
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    assert sums[0] == pytest.approx(sums[2], rel=1e-5)
    assert sums[0] != 0


def test_a_patient_with_66_records_weighs_no_more_than_one_with_one() -> None:
    """In every batch a patient has at most one row, and the batch's size follows patients, not rows."""
    patients = ["many"] * 66 + [f"one {i}" for i in range(30)]
    sampler = PatientSampler(patients, 0.5, 400, torch.Generator().manual_seed(0))
    batches = list(sampler)
    assert all(sum(row < 66 for row in batch) <= 1 for batch in batches)
    often = sum(any(row < 66 for row in batch) for batch in batches) / 400
    assert often == pytest.approx(0.5, abs=0.1)
    assert sum(map(len, batches)) / 400 == pytest.approx(15.5, abs=1)
    drawn = {row for batch in batches for row in batch if row < 66}
    assert len(drawn) > 50  # and not always the same one of the 66


def test_each_patient_is_clipped() -> None:
    """A patient with a huge gradient moves the sum by at most the clipping norm."""
    moved = []
    for last in (1.0, 1e6):
        module = Slope()
        private = Private(module, plan(patients=3, sample_rate=1.0, noise_multiplier=0.0), PEOPLE[:3], 16)
        optimizer = private.configure_optimizers()
        x = torch.tensor([[1.0], [1.0], [last]])
        module.losses((x, 2 * x)).sum().backward()
        optimizer.step()
        private.on_fit_end()
        moved.append(float(module.line.weight.detach()))
    assert moved[0] == pytest.approx(moved[1], rel=1e-4)


def test_an_empty_batch_is_a_step(tmp_path: Path) -> None:
    moved = learn(tmp_path, plan(sample_rate=0.0, steps=5, noise_multiplier=2.0), PEOPLE)
    assert moved != 0  # noise alone moved it


def test_a_parameter_without_gradients_a_patient_is_refused(tmp_path: Path) -> None:
    class Blind(Slope):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(1, 1)

    x = torch.ones(100, 1)
    run = Fit(folder=tmp_path, precision="32-true", accelerator="cpu", progress=False)
    with pytest.raises(RuntimeError, match="no gradient a patient for parameter unused"):
        fit(Blind(), TensorDataset(x, x), run, name="x", steps=0, batch_size=8, plan=PLAN, patients=PEOPLE)


def test_batch_norm_is_refused() -> None:
    class Mixing(Slope):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

    with pytest.raises(InputError, match="cannot be trained privately"):
        Private(Mixing(), PLAN, PEOPLE, 8)


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_the_plan_meets_its_budget(epsilon: float) -> None:
    made = PrivacyPlan.for_budget(Budget(epsilon, 1e-3), patients=211, batch=64, steps=100, max_grad_norm=1)
    assert 0.9 * epsilon < made.epsilon("prv") <= epsilon + 0.02
    assert made.epsilon("rdp") >= made.epsilon("prv") - 0.02  # RDP is the looser bound


def test_epsilon_grows_with_steps_and_falls_with_noise() -> None:
    assert plan(steps=20).epsilon() < plan(steps=80).epsilon()
    assert plan(noise_multiplier=2.0).epsilon() < plan(noise_multiplier=1.0).epsilon()
    assert compose([PLAN, PLAN], 1e-3) == pytest.approx(compose([plan(steps=80)], 1e-3), rel=1e-6)
    assert compose([], 1e-3) == 0


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(-1, 1e-3), "epsilon must be above 0"),
        (Budget(1, 0.1), "below 1/patients"),
        (Budget(1, 0), "delta"),
    ],
)
def test_impossible_budgets_are_refused(budget: Budget, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PrivacyPlan.for_budget(budget, patients=50, batch=10, steps=10, max_grad_norm=1)


def test_the_ledger_adds_up_and_refuses_the_last_straw(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    once = PLAN.epsilon("rdp")
    ledger.charge("a", "first", PLAN, Budget(1.2 * once, 1e-3))
    before = ledger.path.read_bytes()
    with pytest.raises(BudgetExceeded, match="limit"):
        ledger.charge("a", "second", PLAN, Budget(1.2 * once, 1e-3))
    assert ledger.path.read_bytes() == before
    ledger.charge("b", "other people", PLAN, Budget(1.2 * once, 1e-3))
    assert ledger.spent("a", 1e-3) == pytest.approx(once)
    assert [e.population for e in ledger.entries()] == ["a", "b"]


@pytest.mark.parametrize("fault", ["changed", "removed"])
def test_a_tampered_ledger_is_found(tmp_path: Path, fault: str) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for _ in range(3):
        ledger.charge("a", "run", PLAN, None)
    lines = ledger.path.read_text().splitlines()
    if fault == "changed":
        lines[0] = json.dumps({**json.loads(lines[0]), "steps": 1})
    else:
        del lines[1]
    ledger.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="chain is broken"):
        ledger.entries()


SPEND = """
import sys
from pathlib import Path
from polyclinic.core.errors import BudgetExceeded
from polyclinic.core.privacy import Budget, Ledger, PrivacyPlan
print("ready", flush=True)
sys.stdin.readline()
try:
    plan = PrivacyPlan(100, 0.3, 1.0, 40, 1e-3, 1.0)
    Ledger(Path(sys.argv[1])).charge("a", "race", plan, Budget(float(sys.argv[2]), 1e-3))
except BudgetExceeded:
    sys.exit(3)
"""


def test_two_trainings_cannot_both_spend_the_last(tmp_path: Path) -> None:
    limit = 1.2 * PLAN.epsilon("rdp")
    command = [sys.executable, "-W", "ignore", "-c", SPEND, str(tmp_path / "l.jsonl"), str(limit)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.communicate("go\n", timeout=120)
    assert sorted(racer.returncode for racer in racers) == [0, 3, 3]
