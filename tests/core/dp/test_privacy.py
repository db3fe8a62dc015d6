"""Patient-level DP-SGD: the sampler, the step, the plan, the ledger, and runs that were killed."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic.core.dp import budget as budget_module
from polyclinic.core.dp.budget import DROWNED, Budget, PrivacyPlan, compose, noise_for
from polyclinic.core.dp.dpsgd import PatientSampler, Private
from polyclinic.core.dp.ledger import RUN_FILE, Entry, Ledger, current_run, described, end_run, pay
from polyclinic.core.errors import BudgetExceeded, InputError
from polyclinic.core.training.fit import Fit, Outcome
from polyclinic.core.training.trainer import fit

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


class Still(Private):
    """Takes the step of a given batch without a trainer; what the parameters are handed."""

    def handed(self, *batch: Tensor) -> list[Tensor]:
        self.optimizers = lambda: torch.optim.SGD(self.module.parameters(), lr=0.0)  # type: ignore[assignment]
        self.log = lambda *_: None  # type: ignore[assignment,method-assign]
        taken: list[Tensor] = []
        noised = self.noise

        def noise(sums: dict[nn.Parameter, Tensor]) -> None:
            noised(sums)
            taken.extend(p.grad.clone() for p in sums if p.grad is not None)

        self.noise = noise  # type: ignore[method-assign]
        self.training_step(batch, 0)
        return taken


def test_micro_batches_do_not_change_the_sum() -> None:
    """One logical batch of 20 in micro-batches of 20, 7 and 1: the same clipped sum, noise apart."""
    x = torch.linspace(-1, 1, 20)[:, None]
    how = plan(patients=20, noise_multiplier=0.0)
    sums = [float(Still(Slope(), how, PEOPLE[:20], micro).handed(x, 2 * x)[0]) for micro in (20, 7, 1)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    assert sums[0] == pytest.approx(sums[2], rel=1e-5)
    assert sums[0] != 0


def test_noise_is_drawn_once_a_step_and_as_wide_as_planned() -> None:
    how = plan(patients=20, sample_rate=1.0, noise_multiplier=3.0, max_grad_norm=0.5)
    module = Slope()
    module.line = nn.Linear(200, 100)
    x = torch.zeros(20, 200)
    for micro in (20, 3):
        gradient = Still(module, how, PEOPLE[:20], micro).handed(x, torch.zeros(20, 100))[0]
        # zero inputs teach the weights nothing: what is left is noise of 3 * 0.5 over 20 patients
        assert float(gradient.std()) == pytest.approx(3.0 * 0.5 / 20, rel=0.03)
        assert abs(float(gradient.mean())) < 0.003
    empty = Still(module, how, PEOPLE[:20], 3).handed()
    assert float(empty[0].std()) == pytest.approx(3.0 * 0.5 / 20, rel=0.03)


def test_noise_is_wider_where_a_parameter_counts_less() -> None:
    """The weighted gradient is clipped and noised, then the weight is taken off."""
    how = plan(patients=20, sample_rate=1.0, noise_multiplier=3.0, max_grad_norm=0.5)
    module = Slope()
    module.line = nn.Linear(200, 100)
    module.gradient_weights = {"line.weight": 0.25}  # type: ignore[assignment]
    gradient = Still(module, how, PEOPLE[:20], 20).handed(torch.zeros(20, 200), torch.zeros(20, 100))[0]
    assert float(gradient.std()) == pytest.approx(4 * 3.0 * 0.5 / 20, rel=0.03)


def test_a_patient_with_66_records_weighs_no_more_than_one_with_one() -> None:
    """In every batch a patient has at most one row, and the batch's size follows patients, not rows."""
    patients = ["many"] * 66 + [f"one {i}" for i in range(30)]
    sampler = PatientSampler(patients, 0.5, 400, np.random.default_rng(0))
    batches = list(sampler)
    assert all(sum(row < 66 for row in batch) <= 1 for batch in batches)
    often = sum(any(row < 66 for row in batch) for batch in batches) / 400
    assert often == pytest.approx(0.5, abs=0.1)
    assert sum(map(len, batches)) / 400 == pytest.approx(15.5, abs=1)
    drawn = {row for batch in batches for row in batch if row < 66}
    assert len(drawn) > 50  # and not always the same one of the 66


def test_each_patient_is_clipped() -> None:
    """A patient with a huge gradient moves the sum by at most the clipping norm."""
    how = plan(patients=3, sample_rate=1.0, noise_multiplier=0.0)
    moved = []
    for last in (1.0, 1e6):
        x = torch.tensor([[1.0], [1.0], [last]])
        moved.append(float(Still(Slope(), how, PEOPLE[:3], 16).handed(x, 2 * x)[0]))
    assert moved[0] == pytest.approx(moved[1], rel=1e-4)


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_the_sum_of_long_gradients_is_as_long_as_the_bound_says(bound: float) -> None:
    """All pull one way and are far too long: each adds the bound, no more and no less."""
    how = plan(patients=4, sample_rate=1.0, noise_multiplier=0.0, max_grad_norm=bound)
    x = torch.full((4, 1), 1e3)
    for micro in (4, 3, 1):
        handed = Still(Slope(), how, PEOPLE[:4], micro).handed(x, 2 * x)[0]
        assert abs(float(handed)) == pytest.approx(bound, rel=1e-5)  # 4 * bound over 4 expected patients


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
    with pytest.raises(InputError, match="no gradient a patient for parameter unused"):
        fit(Blind(), TensorDataset(x, x), run, name="x", steps=0, batch_size=8, plan=PLAN, patients=PEOPLE)


def test_an_optimiser_of_other_parameters_is_refused() -> None:
    """Nothing moves that is not clipped."""
    stray = nn.Parameter(torch.zeros(2))

    class Straying(Slope):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD([*self.parameters(), stray], lr=1.0)

    with pytest.raises(InputError, match="none of the model's"):
        Private(Straying(), PLAN, PEOPLE, 8).configure_optimizers()


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
    assert 0.98 * epsilon < made.epsilon("prv") <= epsilon
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


def test_mechanisms_that_run_once_share_a_budget_exactly() -> None:
    budget = Budget(2.0, 1e-4)
    noise = noise_for(budget, [1, 2, 1])
    assert noise[0] == noise[2] > noise[1]
    plans = [PrivacyPlan.once(500, n, budget.delta, "means") for n in noise]
    together = compose(plans, budget.delta, "prv")
    assert together == pytest.approx(noise_plan(noise_for(budget, [1.0])[0]).epsilon(), abs=0.02)
    assert 0.98 * budget.epsilon < together <= budget.epsilon + 0.01
    assert plans[0].mode == "Gaussian mechanism on means"
    with pytest.raises(InputError, match="shares of a budget must be positive"):
        noise_for(budget, [1, 0])


def noise_plan(noise: float) -> PrivacyPlan:
    return PrivacyPlan.once(500, noise, 1e-4, "means")


def test_training_gets_what_others_leave_of_a_budget() -> None:
    budget, first = Budget(4.0, 1e-4), noise_plan(2.0)
    made = PrivacyPlan.for_budget(budget, 500, 100, 50, 1.0, beside=[first])
    assert 0.98 * 4 < compose([first, made], 1e-4, "prv") <= 4
    assert made.noise_multiplier > PrivacyPlan.for_budget(budget, 500, 100, 50, 1.0).noise_multiplier
    with pytest.raises(InputError, match="used up by 1 other"):
        PrivacyPlan.for_budget(budget, 500, 100, 50, 1.0, beside=[noise_plan(0.2)])


@pytest.mark.parametrize(("epsilon", "patients", "batch"), [(1.0, 5, 64), (0.1, 70, 10)])
def test_too_few_patients_are_told_how_many_would_do(epsilon: float, patients: int, batch: int) -> None:
    budget = Budget(epsilon, 1e-3)
    with pytest.raises(InputError, match=f"{patients} patients are too few") as caught:
        PrivacyPlan.for_budget(budget, patients, batch, 100, 1.0)
    enough = int(str(caught.value).split("; ")[-1].split()[0])
    assert PrivacyPlan.for_budget(budget, enough + 1, batch, 100, 1.0).signal >= DROWNED
    with pytest.raises(InputError, match="too few"):
        PrivacyPlan.for_budget(budget, round(0.9 * enough), batch, 100, 1.0)


def test_where_no_number_of_patients_would_do_it_is_said() -> None:
    with pytest.raises(InputError, match="no number below 1/delta will do"):
        PrivacyPlan.for_budget(Budget(0.03, 1e-2), 50, 10, 100, 1.0)


@pytest.mark.parametrize(
    "plans",
    [
        [PLAN],
        [plan(sample_rate=0.05, steps=300)],
        [noise_plan(1.5)],
        [noise_plan(3.0), plan(noise_multiplier=2.0)],
    ],
    ids=["few steps", "many steps", "once", "both"],
)
def test_accountants_agree(plans: list[PrivacyPlan]) -> None:
    """RDP is the looser bound, and PRV agrees with another library's privacy loss distributions."""
    accounting = pytest.importorskip("dp_accounting")
    from dp_accounting.pld import PLDAccountant

    tight = compose(plans, 1e-4, "prv")
    assert compose(plans, 1e-4, "rdp") >= tight
    other = PLDAccountant(accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for one in plans:
        gaussian = accounting.GaussianDpEvent(one.noise_multiplier)
        other.compose(accounting.PoissonSampledDpEvent(one.sample_rate, gaussian), one.steps)
    assert tight == pytest.approx(other.get_epsilon(1e-4), abs=0.02)


def test_the_ledger_adds_up_and_refuses_the_last_straw(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    once = PLAN.epsilon("prv")
    ledger.charge_all("a", {"first": PLAN}, Budget(1.2 * once, 1e-3))
    before = ledger.path.read_bytes()
    with pytest.raises(BudgetExceeded, match="limit"):
        ledger.charge_all("a", {"second": PLAN}, Budget(1.2 * once, 1e-3))
    assert ledger.path.read_bytes() == before
    ledger.charge_all("b", {"other people": PLAN}, Budget(1.2 * once, 1e-3))
    assert ledger.spent("a", 1e-3, "prv") == pytest.approx(once)
    assert ledger.spent("a", 1e-3, "rdp") > once
    assert [e.population for e in ledger.entries()] == ["a", "b"]


@pytest.mark.parametrize("fault", ["changed", "removed"])
def test_a_tampered_ledger_is_found(tmp_path: Path, fault: str) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for _ in range(3):
        ledger.charge_all("a", {"run": PLAN}, None)
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
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.dp.budget import Budget, PrivacyPlan
print("ready", flush=True)
sys.stdin.readline()
try:
    plan = PrivacyPlan(100, 0.3, 1.0, 40, 1e-3, 1.0)
    Ledger(Path(sys.argv[1])).charge_all("a", {"race": plan}, Budget(float(sys.argv[2]), 1e-3))
except BudgetExceeded:
    sys.exit(3)
"""


def test_two_trainings_cannot_both_spend_the_last(tmp_path: Path) -> None:
    limit = 1.2 * PLAN.epsilon("prv")
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


def test_several_mechanisms_are_booked_together_or_not_at_all(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    plans = {"class means": PrivacyPlan.once(100, 5.0, 1e-3, "class means"), "network": PLAN}
    both = compose(list(plans.values()), 1e-3, "prv")
    with pytest.raises(BudgetExceeded):
        ledger.charge_all("a", plans, Budget(0.99 * both, 1e-3))
    assert ledger.entries() == []
    booked = ledger.charge_all("a", plans, Budget(1.01 * both, 1e-3))
    assert ledger.entries() == booked
    assert [e.purpose for e in booked] == ["class means", "network"]
    assert booked[0].mode == "Gaussian mechanism on class means"
    assert [e.plan() for e in booked] == list(plans.values())  # the ledger can be replayed
    assert [Entry.of("a", e.purpose, e.plan()) for e in booked] == booked
    assert ledger.spent("a", 1e-3, "prv") == pytest.approx(both)


def line_data() -> TensorDataset:
    x = torch.linspace(-1, 1, 100)[:, None]
    return TensorDataset(x, 2 * x)


def how(tmp_path: Path, **changes: object) -> Fit:
    settings = {"precision": "32-true", "accelerator": "cpu", "progress": False, **changes}
    return Fit(tmp_path / "run", ledger=tmp_path / "ledger.jsonl", budget=Budget(9, 1e-3), **settings)  # type: ignore[arg-type]


def paid_run(tmp_path: Path, planned: PrivacyPlan = PLAN, **changes: object) -> Outcome:
    """Pay for a training and run it."""
    run = how(tmp_path, **changes)
    pay(run, planned, "a", "slope")
    return fit(
        Slope(0.01), line_data(), run, name="slope", steps=0, batch_size=16, plan=planned, patients=PEOPLE
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"precision": "16-mixed"}, "32-true or bf16-mixed")],
)
def test_what_cannot_train_privately_is_not_charged(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        paid_run(tmp_path, **changes)
    assert not (tmp_path / "ledger.jsonl").exists()


KILLED = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import polyclinic.core.training.trainer as train
import test_privacy as tests

class Dying(tests.Slope):
    steps = 0
    def losses(self, batch):
        self.steps += 1
        if self.steps == 15:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().losses(batch)

train.CHECKPOINT_EVERY = timedelta(seconds=float(sys.argv[3]))
tests.Slope = Dying
tests.paid_run(Path(sys.argv[1]), tests.plan(sample_rate=0.5, steps=30))
"""


@pytest.mark.parametrize(("every", "saved"), [("0", True), ("1000", False)])
def test_a_killed_run_goes_on_under_its_own_entry(tmp_path: Path, every: str, saved: bool) -> None:
    """Nothing is paid twice and no step is lost, whether or not it had come to a checkpoint."""
    ledger, planned = Ledger(tmp_path / "ledger.jsonl"), plan(sample_rate=0.5, steps=30)
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), str(Path(__file__).parent), every]
    assert subprocess.run(command, timeout=300, check=False).returncode == -signal.SIGKILL
    checkpoint = tmp_path / "run" / "slope" / "last.ckpt"
    assert checkpoint.exists() == saved
    if saved:
        assert 0 < torch.load(checkpoint, weights_only=False)["global_step"] < 30
    booked = ledger.entries()
    assert [e.run for e in booked] == [current_run(tmp_path / "run")]
    with pytest.raises(InputError, match="booked with another plan"):
        paid_run(tmp_path, replace(planned, noise_multiplier=0.9), resume=True)
    done = paid_run(tmp_path, planned, resume=True)
    assert done.steps == 30
    assert ledger.entries() == booked
    assert torch.load(checkpoint, weights_only=False)["global_step"] == 30


def test_a_run_begun_anew_says_that_another_was_charged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pay(how(tmp_path), PLAN, "a", "slope")  # as if it was killed after the charge
    assert "charged already" not in capsys.readouterr().err
    pay(how(tmp_path, resume=True), PLAN, "a", "slope")
    assert "charged already" not in capsys.readouterr().err
    assert len(Ledger(tmp_path / "ledger.jsonl").entries()) == 1
    run = current_run(tmp_path / "run")
    pay(how(tmp_path), PLAN, "a", "slope")
    said = capsys.readouterr().err
    assert f"run {run}, which was begun there, was charged already" in said
    assert "--resume" in said
    end_run(tmp_path / "run")  # as if it was killed before it saved what it had learnt
    pay(how(tmp_path, resume=True), PLAN, "a", "slope")
    assert "was charged already" in capsys.readouterr().err
    assert len(Ledger(tmp_path / "ledger.jsonl").entries()) == 3


def test_a_refused_run_leaves_no_trace(tmp_path: Path) -> None:
    little = Budget(0.1, 1e-3)
    with pytest.raises(BudgetExceeded):
        paid_run(tmp_path, limit=little)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]
    first = how(tmp_path)
    pay(first, PLAN, "a", "slope")
    run = current_run(first.folder)
    with pytest.raises(BudgetExceeded):
        paid_run(tmp_path, limit=little)
    assert current_run(first.folder) == run  # and can still be resumed


def test_an_ended_run_learns_no_more(tmp_path: Path) -> None:
    ledger, last = Ledger(tmp_path / "ledger.jsonl"), tmp_path / "run" / "slope" / "last.ckpt"
    short = plan(steps=5)
    assert np.isnan(paid_run(tmp_path, short).loss)  # a statistic of the patients that was not paid for
    ended = torch.load(last, weights_only=False)["current_model_state"]
    assert paid_run(tmp_path, short, resume=True).steps == 5
    again = torch.load(last, weights_only=False)["current_model_state"]
    assert ended.keys() == again.keys()
    assert len(ledger.entries()) == 1
    last.unlink()  # without the checkpoint, it would learn anew: that is a new run, and is paid for
    paid_run(tmp_path, short, resume=True)
    paid_run(tmp_path, short)
    assert len({e.run for e in ledger.entries()}) == 3


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    short = plan(steps=3)
    paid_run(tmp_path, short)
    file = tmp_path / "run" / RUN_FILE
    file.write_text(json.dumps({"run": "another"}))
    with pytest.raises(InputError, match="another run"):
        paid_run(tmp_path, short, resume=True)
    file.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        paid_run(tmp_path, short, resume=True)


@pytest.mark.parametrize("delta", [1e-5, 1e-30])
@pytest.mark.parametrize("epsilon", [1e-3, 1.0, 1e3, 1e6])
def test_any_budget_is_planned_or_refused_in_one_line(epsilon: float, delta: float) -> None:
    (noise,) = noise_for(Budget(epsilon, delta), [1.0])
    spent = PrivacyPlan.once(1000, noise, delta, "x").epsilon()
    assert 0.98 * epsilon < spent <= epsilon
    if epsilon < 1:
        with pytest.raises(InputError, match=r"^epsilon .* out of reach; [^\n]*$"):
            PrivacyPlan.for_budget(Budget(epsilon, delta), 4000, 512, 300, 1.0)
    else:
        assert (
            0.5 * epsilon
            < PrivacyPlan.for_budget(Budget(epsilon, delta), 4000, 512, 300, 1.0).epsilon()
            <= epsilon
        )


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 30), st.sampled_from([1e-4, 1e-8]))
def test_gaussian_mechanisms_compose_exactly(noise: float, delta: float) -> None:
    """Four at twice the noise are one at the noise; opacus' PRV, which is within 0.01, agrees."""
    one = PrivacyPlan.once(100, noise, delta, "x").epsilon()
    assert compose([PrivacyPlan.once(100, 2 * noise, delta, "x")] * 4, delta, "prv") == pytest.approx(
        one, rel=1e-6
    )
    assert one <= PrivacyPlan.once(100, noise, delta, "x").epsilon("rdp")
    if one < 20:
        assert budget_module._counted("prv", [(noise, 1.0, 1)], delta) == pytest.approx(one, abs=0.02)


def test_the_plan_holds_the_noise_of_a_release_against_one_patient_and_all() -> None:
    said = described({"mean": PrivacyPlan.once(400, 2.0, 1e-4, "a mean")}, 1.5)
    assert said.startswith("1 noised release of 400 patients: ")
    assert "up to 2 times the most that one patient may add, 0.50% of what all could add" in said
    assert "signal-to-noise" not in said
