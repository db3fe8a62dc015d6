"""Patient-level differential privacy: the plan, the sampler, the private step, the ledger.

The only file that imports opacus. The unit is the patient: patients are sampled (Poisson), one random
record of each sampled patient is taken, one gradient a patient is clipped. Random numbers come from the
operating system's entropy through torch's ordinary generator: this is not Opacus' secure mode.
"""

import fcntl
import json
import secrets
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from .errors import BudgetExceeded, InputError

if TYPE_CHECKING:
    from .train import Fit


# Renyi orders that RDP minimises over: wide enough for one step of much noise
ORDERS = [1 + k / 10 for k in range(1, 100)] + [*range(11, 64), *range(64, 512, 8), *range(512, 4097, 256)]


@dataclass(frozen=True)
class Budget:
    """An (epsilon, delta) limit on what one real population may pay."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class PrivacyPlan:
    """A DP-SGD run, fixed before it starts: sampled Gaussian mechanism over patients.

    sample_rate is the chance of each patient to be in a step, noise_multiplier the noise's standard
    deviation over the clipping norm max_grad_norm.
    """

    patients: int
    sample_rate: float
    noise_multiplier: float
    steps: int
    delta: float
    max_grad_norm: float

    @classmethod
    def for_budget(
        cls, budget: Budget, patients: int, batch: int, steps: int, max_grad_norm: float
    ) -> "PrivacyPlan":
        """The least noise that keeps `steps` steps of about `batch` patients within the budget (PRV accountant).

        Raises InputError when delta is not below 1 over the number of patients, or the budget is out of reach.
        """
        from opacus.accountants.utils import get_noise_multiplier

        if budget.epsilon <= 0:
            raise InputError(f"epsilon must be above 0, got {budget.epsilon:g}")
        if not 0 < budget.delta < 1 / patients:
            raise InputError(
                f"delta must be above 0 and below 1/patients = {1 / patients:.1e}, got {budget.delta:g}"
            )
        rate = min(1.0, batch / patients)
        try:
            with _quiet_orders():
                noise = get_noise_multiplier(
                    target_epsilon=budget.epsilon,
                    target_delta=budget.delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant="prv",
                    epsilon_tolerance=0.01,
                )
        except ValueError as error:
            raise InputError(
                f"epsilon {budget.epsilon:g} cannot be met with {patients} patients: {error}"
            ) from None
        return cls(patients, rate, noise, steps, budget.delta, max_grad_norm)

    def epsilon(self, accountant: str = "prv", steps: int | None = None) -> float:
        """Epsilon spent after `steps` steps (all by default), by the "rdp" or "prv" accountant."""
        return compose([self], self.delta, accountant, {0: self.steps if steps is None else steps})


def compose(
    plans: list[PrivacyPlan], delta: float, accountant: str = "rdp", steps: dict[int, int] | None = None
) -> float:
    """Epsilon of several runs on the same people, by one accountant. Source: Mironov 2017; Gopi et al. 2021."""
    from opacus.accountants import PRVAccountant, RDPAccountant

    counter = {"rdp": RDPAccountant, "prv": PRVAccountant}[accountant]()
    counter.history = [
        (plan.noise_multiplier, plan.sample_rate, (steps or {}).get(i, plan.steps))
        for i, plan in enumerate(plans)
    ]
    if not plans:
        return 0.0
    if accountant == "rdp":
        return float(counter.get_epsilon(delta=delta, alphas=ORDERS))
    with _quiet_orders():
        return float(counter.get_epsilon(delta=delta))


@contextmanager
def _quiet_orders() -> Iterator[None]:
    """The PRV accountant sizes its grid by RDP with few orders, and warns of it; the grid is only larger for that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is")
        yield


class PatientSampler(Sampler[list[int]]):
    """Batches of row indices: each patient with probability rate, one uniformly random row of each.

    A batch may be empty; it is a step too.
    """

    def __init__(self, patients: Sequence[str], rate: float, steps: int, generator: torch.Generator) -> None:
        rows: dict[str, list[int]] = {}
        for row, patient in enumerate(patients):
            rows.setdefault(patient, []).append(row)
        self.rows, self.rate, self.steps, self.generator = list(rows.values()), rate, steps, generator

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.steps):
            drawn = torch.rand(len(self.rows), generator=self.generator, dtype=torch.float64) < self.rate
            yield [
                own[int(torch.randint(len(own), (), generator=self.generator))]
                for own, taken in zip(self.rows, drawn.tolist(), strict=True)
                if taken
            ]


def _entropy() -> torch.Generator:
    return torch.Generator().manual_seed(secrets.randbits(63))


class Private(pl.LightningModule):
    """Trains another module privately: its `losses(batch) -> (row,)`, one row a patient.

    Raises InputError when the module has a layer whose per-sample gradient is not defined.
    """

    def __init__(
        self, module: pl.LightningModule, plan: PrivacyPlan, patients: Sequence[str], micro_batch: int
    ) -> None:
        from opacus import GradSampleModule
        from opacus.validators import ModuleValidator

        super().__init__()
        if plan.patients != len(set(patients)):
            raise InputError(f"the plan is for {plan.patients} patients, the data have {len(set(patients))}")
        if errors := ModuleValidator.validate(module, strict=False):
            raise InputError(f"the model cannot be trained privately: {errors[0]}")
        self.automatic_optimization = False
        self.module, self.plan, self.patients, self.micro_batch = module, plan, patients, micro_batch
        self.sampled = GradSampleModule(module, loss_reduction="sum")
        self.noise = _entropy()
        self.checked = False

    def loader(self, data: Dataset[Any]) -> DataLoader[Any]:
        """Poisson batches of data; an empty one is an empty list, since Lightning skips None and a skip is no step."""
        sampler = PatientSampler(self.patients, self.plan.sample_rate, self.plan.steps, _entropy())
        return DataLoader(
            data, batch_sampler=sampler, collate_fn=lambda rows: default_collate(rows) if rows else []
        )

    def configure_optimizers(self) -> Any:
        from opacus.optimizers import DPOptimizer

        inner = self.module.configure_optimizers()
        assert isinstance(inner, torch.optim.Optimizer)
        return DPOptimizer(
            inner,
            noise_multiplier=self.plan.noise_multiplier,
            max_grad_norm=self.plan.max_grad_norm,
            expected_batch_size=max(1, round(self.plan.sample_rate * self.plan.patients)),
            loss_reduction="mean",
            generator=self.noise,
        )

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        step: Any = self.optimizers()
        optimizer = step.optimizer
        rows = len(batch[0]) if batch else 0
        total = 0.0
        full = torch.autocast(self.device.type, enabled=False)  # reduced precision is not for norms and sums
        for start in range(0, rows, self.micro_batch):
            losses = self.module.losses(tuple(part[start : start + self.micro_batch] for part in batch))  # type: ignore[operator]
            losses.sum().backward()
            total += float(losses.detach().sum())
            self._check_gradients(len(losses))
            for parameter in self.trained():
                parameter.grad_sample = parameter.grad_sample.float()  # type: ignore[attr-defined]
            if start + self.micro_batch < rows:
                optimizer.signal_skip_step(do_skip=True)
                with full:
                    optimizer.step()
                optimizer.zero_grad()
        if rows == 0:
            for parameter in self.trained():
                parameter.grad_sample = torch.zeros(0, *parameter.shape, device=parameter.device)  # type: ignore[attr-defined]
        optimizer.signal_skip_step(do_skip=False)
        with full:
            step.step()
        step.zero_grad()
        if rows:
            self.log("loss", total / rows)

    def trained(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return [p for p in self.module.parameters() if p.requires_grad]

    def _check_gradients(self, rows: int) -> None:
        """A parameter without per-sample gradients would be trained without noise, or not at all."""
        if self.checked:
            return
        for name, parameter in self.module.named_parameters():
            sampled = getattr(parameter, "grad_sample", None)
            if parameter.requires_grad and (sampled is None or len(sampled) != rows):
                raise RuntimeError(f"no gradient a patient for parameter {name}; private training refused")
        self.checked = True

    def on_fit_end(self) -> None:
        self.sampled.remove_hooks()


def pay(how: "Fit", plan: PrivacyPlan, population: str, purpose: str) -> dict[str, Any]:
    """Charge a planned run to how.ledger before it starts; what the card must say of it.

    Raises BudgetExceeded when the population's total would pass how.limit.
    """
    assert how.budget is not None
    epsilon = plan.epsilon("prv")
    if how.ledger is not None:
        epsilon = Ledger(how.ledger).charge(population, purpose, plan, how.limit).epsilon_prv
    text = f"epsilon {epsilon:.2f}, delta {plan.delta:g}, patient level, {plan.patients} patients, not secure mode"
    return {"privacy": text, "epsilon": round(epsilon, 3), "delta": plan.delta}


@dataclass(frozen=True)
class Entry:
    """One touch of a real population, as the ledger keeps it."""

    population: str
    purpose: str
    patients: int
    sample_rate: float
    noise_multiplier: float
    steps: int
    delta: float
    epsilon_rdp: float
    epsilon_prv: float
    mode: str = "DP-SGD, Poisson over patients, not secure mode"

    def plan(self) -> PrivacyPlan:
        """The mechanism, for composition."""
        return PrivacyPlan(
            self.patients, self.sample_rate, self.noise_multiplier, self.steps, self.delta, 1.0
        )


class Ledger:
    """What each real population has paid: an append-only file of JSON lines, each chained to the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises InputError if a line was changed or removed."""
        if not self.path.exists():
            return []
        return self._parse(self.path.read_text(encoding="utf-8"))[0]

    def spent(self, population: str, delta: float, accountant: str = "rdp") -> float:
        """Epsilon of all runs on that population together."""
        return compose([e.plan() for e in self.entries() if e.population == population], delta, accountant)

    def charge(self, population: str, purpose: str, plan: PrivacyPlan, limit: Budget | None) -> Entry:
        """Book a run before it starts. Raises BudgetExceeded, with nothing booked, if the sum passes the limit."""
        entry = Entry(
            population, purpose, plan.patients, plan.sample_rate, plan.noise_multiplier, plan.steps,
            plan.delta, round(plan.epsilon("rdp"), 4), round(plan.epsilon("prv"), 4),
        )  # fmt: skip
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self.path}: the ledger cannot be written ({error.strerror})") from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before, last = self._parse(file.read())
            if limit is not None:
                plans = [e.plan() for e in before if e.population == population] + [plan]
                total = compose(plans, limit.delta)
                if total > limit.epsilon:
                    raise BudgetExceeded(
                        f"{population}: this run would bring the total to epsilon {total:.2f} "
                        f"(delta {limit.delta:g}), the limit is {limit.epsilon:g}; {self.path} lists what was spent"
                    )
            line = {
                **asdict(entry),
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "previous": last,
            }
            file.write(json.dumps(line) + "\n")
        return entry

    def _parse(self, text: str) -> tuple[list[Entry], str]:
        entries, last = [], ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                values = json.loads(line)
                intact = values.pop("previous") == last
                values.pop("time")
                entries.append(Entry(**values))
            except (ValueError, KeyError, TypeError):
                intact = False
            if not intact:
                raise InputError(f"{self.path}, line {number}: the chain is broken; the ledger was changed")
            last = sha256(line.encode()).hexdigest()
        return entries, last
