"""What each real population has paid: the ledger, and how a run is booked in it before it starts."""

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cohort.chain import Chain, Line
from ..cohort.disk import write_atomic
from ..config import read_json
from ..errors import BudgetExceeded, InputError
from ..remarks import remark
from ..text import say
from .budget import DP_SGD, Budget, PrivacyPlan, compose
from .population_identity import SAME, is_near, key_of, overlap, plain, sketch

if TYPE_CHECKING:
    from ..training.fit import Fit

UNCHARGED = "exact figures, not charged"
RUN_FILE = "run.json"  # beside a run's checkpoints: which entries of the ledger are its own


@dataclass(frozen=True)
class Entry:
    """One touch of a real population, as the ledger keeps it; entries of one `run` were booked together."""

    population: str
    purpose: str
    patients: int
    sample_rate: float
    noise_multiplier: float
    steps: int
    delta: float
    epsilon_rdp: float
    epsilon_prv: float
    mode: str = DP_SGD
    run: str = ""
    failure: float = 0.0
    people: str = ""  # sketch of the patients' ids, see population_identity

    @classmethod
    def of(cls, population: str, purpose: str, plan: PrivacyPlan, run: str = "", people: str = "") -> "Entry":
        """The entry of a planned mechanism."""
        return cls(
            population, purpose, plan.patients, plan.sample_rate, plan.noise_multiplier, plan.steps, plan.delta,
            round(plan.epsilon("rdp"), 4), round(plan.epsilon("prv"), 4), plan.mode, run, plan.failure, people,
        )  # fmt: skip

    def plan(self) -> PrivacyPlan:
        """The mechanism again, for composition."""
        return PrivacyPlan(
            self.patients, self.sample_rate, self.noise_multiplier, self.steps, self.delta, 1.0, self.mode,
            self.failure,
        )  # fmt: skip


class Ledger:
    """An append-only file of entries, each chained to the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chain = Chain(path, "ledger", kept_head=True)

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises InputError if a line was changed or removed."""
        return self._parse(self.chain.lines())

    def spent(self, population: str, delta: float, accountant: str = "rdp") -> float:
        """Epsilon of all runs on that population together."""
        return compose(_paid(self.entries(), population), delta, accountant)

    def note(self, population: str, purpose: str, patients: int) -> None:
        """Put down a touch that no budget is charged for, as scores on real rows are; the very same only once."""
        entry = Entry(population, purpose, patients, 1.0, 0.0, 0, 0.0, 0.0, 0.0, UNCHARGED)
        with self.chain.held() as held:
            if entry not in self._parse(held.lines):
                held.append(asdict(entry))

    def charge_all(
        self, population: str, plans: Mapping[str, PrivacyPlan], limit: Budget | None, run: str = "",
        people: Sequence[str] = (), stated: bool = False, only: Collection[str] = (),
    ) -> list[Entry]:  # fmt: skip
        """Book mechanisms by purpose before they run: all of them, or none.

        Where `only` names the first of them, those alone are booked, and the limit is checked for all.

        `people` are the patients' ids. A new name for people who were charged under another one is refused, unless the
        name is `stated`: then it is remarked.

        A run that is there already, with the same mechanisms on the same population, is not booked again.
        Raises BudgetExceeded when the population's total (PRV) would pass the limit, and InputError when
        the run is there with other mechanisms.
        """
        with self.chain.held() as held:
            before = self._parse(held.lines)
            used = any(entry.people for entry in before)
            drawn = sketch(people, key_of(self.path, used)) if people else ""
            booked = [Entry.of(population, purpose, plan, run, drawn) for purpose, plan in plans.items()]
            self._require_new_people(booked[0], before, stated)
            own = [entry for entry in before if entry.run == run] if run else []
            if own != booked[: len(own)]:  # fewer: the process died while it wrote them
                raise InputError(
                    f"{self.path}: run {run} was booked with another plan or population; "
                    "resume it with the data and settings it had, or start anew without --resume"
                )
            if limit is not None and len(own) < len(booked):
                new = [entry.plan() for entry in booked[len(own) :]]
                total = compose([*_paid(before, population), *new], limit.delta, "prv")
                if total > limit.epsilon:
                    raise BudgetExceeded(
                        f"{population}: this run would bring the total to epsilon {total:.2f} "
                        f"(delta {limit.delta:g}), the limit is {limit.epsilon:g}; {self.path} lists what was spent"
                    )
            for entry in booked[len(own) :]:
                if not only or entry.purpose in only:
                    held.append(asdict(entry))
        return booked

    def _require_new_people(self, new: Entry, before: Sequence[Entry], stated: bool) -> None:
        """Raises InputError for a population that seems to be one of the ledger's under another name."""
        charged = {entry.population: entry for entry in before if entry.steps}
        if new.population in charged:
            return
        for name, entry in charged.items():
            alike = plain(name) == plain(new.population)
            shared = overlap(new.people, entry.people, (new.patients, entry.patients))
            if not alike and shared < SAME:
                if is_near(name, new.population):
                    remark(
                        f"{self.path}: {new.population!r} is booked apart from {name!r}, which it nearly is"
                    )
                continue
            why = (
                "differs only in case, spaces or signs"
                if alike
                else f"has {shared:.0%} of the patients' ids too"
            )
            said = f"{self.path}: {new.population!r} would get a budget of its own, but {name!r} there {why}"
            if not stated:
                raise InputError(
                    f"{said}; state in dataset.yaml whose budget it is: `population: {name}` if they are the same "
                    "people, or a `population:` of its own"
                )
            remark(said)

    def _parse(self, lines: Sequence[Line]) -> list[Entry]:
        try:
            return [
                Entry(**{k: v for k, v in line.items() if k not in ("time", "previous")}) for line in lines
            ]
        except TypeError:
            raise InputError(f"{self.path}: expected a ledger, its lines are of another kind") from None


def _paid(entries: Sequence[Entry], population: str) -> list[PrivacyPlan]:
    """The mechanisms that a population was charged for."""
    return [entry.plan() for entry in entries if entry.population == population and entry.steps]


def pay(
    how: "Fit",
    plans: PrivacyPlan | Mapping[str, PrivacyPlan],
    population: str,
    purpose: str = "",
    seconds: float | None = None,
    only: Collection[str] = (),
    rest: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """Charge planned mechanisms to how.ledger before they run; what the card must say of them.

    One plan comes with its purpose, several as {purpose: plan}; `seconds` is the time of a step of DP-SGD. What is
    planned is a line on stderr before the charge, `note` stands at its end. With how.resume, the run whose checkpoints
    are in how.folder goes on under the entries it was booked with; what a mechanism of one step released must
    then be read from there, not drawn again. Raises BudgetExceeded when the
    population's total would pass how.limit, and InputError when how cannot train privately.
    """
    named = {purpose: plans} if isinstance(plans, PrivacyPlan) else dict(plans)
    named |= how.beside
    if how.precision.startswith("16"):
        raise InputError(
            f"private training takes auto, 32-true or bf16-mixed, got --precision {how.precision}"
        )
    first = next(iter(named.values()))
    epsilon = compose(list(named.values()), first.delta, "prv")
    if not rest:
        said = described(named, epsilon, seconds) + (f"; {note}" if note else "")
        say(f"polyclinic: plan: {said}", aside=True)
    if how.ledger is not None:
        file = how.folder / RUN_FILE
        before = file.read_bytes() if file.exists() else None
        run = current_run(how.folder) if rest else _run(how, named)
        try:
            ledger = Ledger(how.ledger)
            _name_charged(before, run, ledger, how)
            ledger.charge_all(
                how.population or population, named, how.limit, run, how.people,
                stated=bool(how.population), only=only,
            )  # fmt: skip
        except (BudgetExceeded, InputError):
            _put_back(file, before)
            raise
    return stated(list(named.values()), epsilon)


def stated(plans: Sequence[PrivacyPlan], epsilon: float | None = None) -> dict[str, Any]:
    """What a card says of mechanisms on the same people, at the delta of the last of them; epsilon by PRV."""
    last = plans[-1]
    if epsilon is None:
        epsilon = compose(plans, last.delta, "prv")
    text = f"epsilon {epsilon:.2f}, delta {last.delta:g}, patient level, {last.patients} patients, not secure mode"
    return {"privacy": text, "epsilon": round(epsilon, 3), "delta": last.delta}


def described(plans: Mapping[str, PrivacyPlan], epsilon: float, seconds: float | None = None) -> str:
    """What is going to be charged: steps, batch, minutes, signal-to-noise or noise, and epsilon.

    Of DP-SGD the signal-to-noise ratio at best says whether anything can be learnt. A release of moments spreads its
    signal over many numbers, so that its noise is held against what one patient may add, and all of them.
    """
    once = [plan for plan in plans.values() if plan.steps == 1]
    said = []
    for plan in plans.values():
        if plan.steps > 1:
            batch = round(plan.sample_rate * plan.patients)
            minutes = "" if seconds is None else f", about {plan.steps * seconds / 60:.1f} minutes"
            said.append(
                f"{plan.steps:,} steps of about {batch:,} of {plan.patients:,} patients{minutes}, "
                f"signal-to-noise at most {plan.signal:.1f}"
            )
    if once:
        most = max(once, key=lambda plan: plan.noise_multiplier / plan.patients)
        releases = f"{len(once)} noised releases" if len(once) > 1 else "1 noised release"
        share = most.noise_multiplier / most.patients
        said.append(
            f"{releases} of {once[0].patients:,} patients: the noise on each number has a standard deviation of up to "
            f"{most.noise_multiplier:.2g} times the most that one patient may add, {share:.2%} of what all could add"
        )
    delta = next(iter(plans.values())).delta
    return f"{' and '.join(said)}; epsilon {epsilon:.2f} at delta {delta:g} in all"


def _run(how: "Fit", plans: Mapping[str, PrivacyPlan]) -> str:
    """The id of the run whose checkpoints are in how.folder: the one found there when resuming, else a new one.

    It is written before the charge: a run that was killed in between is charged when it is resumed. A run
    that has ended without leaving a checkpoint cannot be resumed, since it would learn twice for one charge.
    """
    if how.resume and (run := current_run(how.folder)):
        return run
    run = secrets.token_hex(8)
    how.folder.mkdir(parents=True, exist_ok=True)
    values = {"run": run, "steps": {purpose: plan.steps for purpose, plan in plans.items()}}
    write_atomic(how.folder / RUN_FILE, json.dumps(values).encode())
    return run


def _name_charged(before: bytes | None, run: str, ledger: Ledger, how: "Fit") -> None:
    """Say so where another run was begun in how.folder, and charged: the new one is charged beside it."""
    try:
        last = str(read_json((before or b"{}").decode())["run"])
    except (ValueError, KeyError, TypeError, InputError):  # none, or damaged
        return
    if last != run and any(entry.run == last for entry in ledger.entries()):
        hint = "" if how.resume else "; --resume goes on under its charge, where a model can be resumed"
        say(
            f"polyclinic: {how.folder}: run {last}, which was begun there, was charged already; this one is charged "
            f"too{hint}",
            aside=True,
        )


def _put_back(file: Path, before: bytes | None) -> None:
    """A refused run leaves no trace: the run that was there can still be resumed."""
    if before is not None:
        write_atomic(file, before)
        return
    file.unlink(missing_ok=True)
    if not any(file.parent.iterdir()):
        file.parent.rmdir()


def current_run(folder: Path) -> str:
    """The id of the run whose checkpoints are in a folder; empty if there is none that can go on."""
    file = folder / RUN_FILE
    if not file.exists():
        return ""
    try:
        values = read_json(file.read_text(encoding="utf-8"))
        ended, run = bool(values.get("ended")), str(values["run"])
    except (ValueError, KeyError, AttributeError):
        raise InputError(f"{file}: damaged; start anew without --resume") from None
    return "" if ended and not any(folder.rglob("last.ckpt")) else run


def end_run(folder: Path) -> None:
    """Note that the run in a folder has ended, so that it can only be read from its checkpoint."""
    if current_run(folder):
        file = folder / RUN_FILE
        values = read_json(file.read_text(encoding="utf-8"))
        write_atomic(file, json.dumps({**values, "ended": True}).encode())


def booked_steps(how: "Fit", purpose: str) -> int | None:
    """The steps that the run in how.folder was charged for, if how.resume goes on with it."""
    if not (how.resume and current_run(how.folder)):
        return None
    values = read_json((how.folder / RUN_FILE).read_text(encoding="utf-8"))
    steps = values.get("steps", {}).get(purpose)
    return None if steps is None else int(steps)
