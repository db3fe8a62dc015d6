"""A cohort's design: its parts, the prevalence of each, and patients resampled from weighted candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from ...core.errors import InputError
from ...core.fields import BREAST_CANCER
from ...core.types import BoolArray, FloatArray, IntArray
from ..case_mix import CaseMix
from ..distributions import PatientBatch
from ..physiology import QUANTITIES, SEVERITY, severity, severity_places
from ..table.table_model import Draws
from .cohort_config import CohortConfig, Fairness, Stratum, counted
from .criteria import ANYBODY, Criteria, Known

CANDIDATES = 64  # of which one becomes the patient
PILOT = 1024  # candidates on which a part is summary before any patient is drawn


@dataclass(frozen=True)
class Part:
    """A share of the cohort, its inclusion criteria, and its exclusion criteria (`without`)."""

    share: float
    criteria: Criteria
    without: tuple[Criteria, ...]
    title: str

    @property
    def open(self) -> bool:
        """Whether the part has no criteria."""
        return self.criteria == ANYBODY and not self.without


@dataclass(frozen=True)
class PartSummary:
    """A part's prevalence in the population, and its effective number of candidates (Kish)."""

    title: str
    share: float
    prevalence: float
    effective: float


def parts_of(config: CohortConfig, known: Known, where: str) -> tuple[Part, ...]:
    """The parts of a cohort. Raises InputError for shares over 1 and for criteria that no patient can meet."""
    base = Criteria.of(config.include, known, f"{where}: include")
    without = []
    for number, criteria in enumerate(config.exclude, 1):
        key = f"{where}: exclude.{number}"
        without.append(_excludable(Criteria.of(criteria, known, key), key))
    strata = list(config.strata)
    if sum([bool(strata), config.fairness is not None, bool(config.counts)]) > 1:
        raise InputError(
            f"{where}: fairness and counts make the strata; give one of fairness, counts and strata"
        )
    if config.fairness is not None:
        strata = _balanced(config.fairness, where)
    for name, counts in config.counts.items():
        asked = counted(counts, known.vocabulary.field(name, f"{where}: counts"), f"{where}: counts")
        whole = sum(asked.values())
        strata = [Stratum(share=number / whole, who={name: value}) for value, number in asked.items()]
    if (total := sum(stratum.share for stratum in strata)) > 1 + 1e-9:
        raise InputError(f"{where}: strata: shares add up to {total:g}; they must not pass 1")
    stratum_criteria = []
    for number, stratum in enumerate(strata, 1):
        key = f"{where}: strata.{number}"
        stratum_criteria.append(Criteria.of(stratum.who, known, key))
    for (i, one), (j, other) in combinations(enumerate(stratum_criteria, 1), 2):
        if not one.disjoint(other):
            raise InputError(
                f"{where}: strata.{i} and strata.{j} overlap, so that shares would not be as asked"
            )
    parts = [
        Part(
            stratum.share,
            base.intersect(criteria, f"{where}: strata.{k}"),
            tuple(without),
            _title(stratum.who),
        )
        for k, (stratum, criteria) in enumerate(zip(strata, stratum_criteria, strict=True), 1)
    ]
    if total < 1 - 1e-9:
        others = [
            _excludable(criteria, f"{where}: strata: shares add up to {total:g}")
            for criteria in stratum_criteria
        ]
        title = "all others" if parts else _title(config.include)
        parts.append(Part(1 - total, base, (*without, *others), title))
    return tuple(parts)


def _title(criteria: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in criteria.items()) or "anybody"


def _excludable(criteria: Criteria, key: str) -> Criteria:
    """Exclusions are by age, sex and conditions; what is measured is chosen by a range."""
    late = [name for name in (*criteria.ranges, *criteria.categories) if name not in ("age", "sex")]
    if late:
        raise InputError(
            f"{key}: patients cannot be left out by {late[0]}; include the range that is criteria"
        )
    return criteria


def _balanced(fairness: Fairness, where: str) -> list[Stratum]:
    """Strata of equal groups, in each of which the conditions are independent and equally common."""
    strata = []
    for code, share in fairness.conditions.items():
        if not 0 <= share <= 1:
            raise InputError(f"{where}: fairness.conditions.{code}: must lie in 0 to 1, got {share:g}")
    for group in fairness.groups:
        for present in product((True, False), repeat=len(fairness.conditions)):
            who, share = dict(group), 1 / len(fairness.groups)
            for (code, asked), has in zip(fairness.conditions.items(), present, strict=True):
                who[code] = has
                share *= asked if has else 1 - asked
            if share > 0:
                strata.append(Stratum(share=share, who=who))
    return strata


class Design:
    """Chooses patients of each part by sampling-importance-resampling (Rubin 1988), each patient alone.

    Of CANDIDATES patients in whom the criteria are made true, one is drawn with weight the chance of that.
    """

    def __init__(self, config: CohortConfig, mix: CaseMix, where: str) -> None:
        known = Known(mix.vocabulary, mix.drawn)
        self.mix, self.where = mix, where
        self._ruled = QUANTITIES.keys() - {*mix.tabled, *mix.rules}  # measured values that follow from rules
        self.parts = parts_of(config, known, where)
        shares = np.array([part.share for part in self.parts])
        self._edges = (np.cumsum(shares) / shares.sum()).tolist()
        self._sequence = _sequence([n for counts in config.counts.values() for n in counts.values() if n])
        self._draws = [self._table_draws(part, k) for k, part in enumerate(self.parts, 1)]

    def _table_draws(self, part: Part, number: int) -> Draws | None:
        if self.mix.table is None:
            return None
        evidence = self.mix.evidence(part.criteria)
        try:
            return self.mix.table.given(evidence)
        except InputError:
            raise InputError(f"{self.where}: no patient of the learnt table fits: {part.title}") from None

    def place(self, index: int, u: float) -> int:
        """The part that a patient belongs to: by place among counted ones, else by a uniform number."""
        if len(self._sequence):
            return int(self._sequence[index % len(self._sequence)])
        return sum(u >= edge for edge in self._edges[:-1])

    def draws(self, place: int) -> Draws | None:
        """The learnt table's draws under a part's criteria."""
        return self._draws[place]

    def choose(self, place: int, names: Sequence[str], seed: int) -> dict[str, float]:
        """The uniform numbers, by name, of one patient of a part. Raises InputError if nobody is found."""
        rng = np.random.default_rng(seed)
        for _ in range(50):
            u = dict(zip(names, rng.random((len(names), CANDIDATES)), strict=True))
            batch, weight = self.weighted_candidates(place, u)
            pick = rng.random()
            if weight.sum() > 0:
                row = int(np.searchsorted(np.cumsum(weight), pick * weight.sum(), "right"))
                chosen = {name: float(values[min(row, CANDIDATES - 1)]) for name, values in u.items()}
                return self._within(self.parts[place].criteria, chosen, batch, row)
        raise InputError(f"{self.where}: found nobody who fits: {self.parts[place].title}")

    def weighted_candidates(self, place: int, u: dict[str, FloatArray]) -> tuple[PatientBatch, FloatArray]:
        """Candidates who meet a part's criteria, and their weights; severity in u is moved into its range."""
        part = self.parts[place]
        if SEVERITY in part.criteria.ranges:
            low, high = severity_places(*part.criteria.ranges[SEVERITY])
            u[SEVERITY] = low + u[SEVERITY] * (high - low)
        batch = self.mix.draw(u, part.criteria, draws=self._draws[place])
        weight = batch.weight.copy()
        for excluded in part.without:
            weight[_matches(excluded, batch)] = 0.0
        weight *= self._traits(part.criteria, batch)
        for name in part.criteria.ranges:
            if name in self._ruled:
                places = (
                    self._places(part.criteria, name, u[SEVERITY][row], batch, row)
                    for row in range(len(weight))
                )
                weight *= np.array([high - low for low, high in places])
        return batch, weight

    def _traits(self, criteria: Criteria, batch: PatientBatch) -> FloatArray:
        """The chance of the criteria X-ray view and tumour subtype."""
        weight = np.ones(len(batch.age))
        if "chest_view" in criteria.categories and self.mix.ap_rule is not None:
            bedside = self.mix.ap_rule.chance(batch)
            allowed = criteria.categories["chest_view"]
            weight *= bedside * ("AP" in allowed) + (1 - bedside) * ("PA" in allowed)
        if "pam50" in criteria.categories:
            tumour = np.zeros(len(weight))
            for code in BREAST_CANCER:
                tumour = np.maximum(tumour, batch.present.get(code, tumour))
            weight *= tumour * sum(
                self.mix.config.pam50.get(name, 0.0) for name in criteria.categories["pam50"]
            )
        return weight

    def _places(
        self, criteria: Criteria, name: str, u: float, batch: PatientBatch, row: int
    ) -> tuple[float, float]:
        has = {code: bool(values[row] > 0) for code, values in batch.present.items()}
        low, high = criteria.ranges[name]
        sex = "M" if batch.male[row] else "F"
        return QUANTITIES[name].places(low, high, float(batch.age[row]), sex, has, severity(u))

    def _within(
        self, criteria: Criteria, u: dict[str, float], batch: PatientBatch, row: int
    ) -> dict[str, float]:
        """The numbers with those of measured values moved into the criteria ranges."""
        moved = dict(u)
        for name in criteria.ranges:
            if name in self._ruled:
                low, high = self._places(criteria, name, u[SEVERITY], batch, row)
                moved[name] = low + u[name] * (high - low)
        return moved

    def summarize(self, names: Sequence[str]) -> list[PartSummary]:
        """Each part compared with the whole population. Raises InputError where no patient meets the criteria."""
        summary = []
        for place, part in enumerate(self.parts):
            if part.open:
                summary.append(PartSummary(part.title, part.share, 1.0, CANDIDATES))
                continue
            u = dict(zip(names, np.random.default_rng(place).random((len(names), PILOT)), strict=True))
            _, weight = self.weighted_candidates(place, u)
            root = self.mix.share_of_roots(part.criteria)
            if weight.sum() <= 0 or root <= 0:
                raise InputError(
                    f"{self.where}: no patient can be: {part.title}; the criteria contradict the cohort's "
                    "shares and factors, or each other"
                )
            effective = weight.sum() ** 2 / (weight**2).sum() / PILOT
            summary.append(
                PartSummary(
                    part.title, part.share, root * float(weight.mean()), CANDIDATES * float(effective)
                )
            )
        return summary


def _sequence(counts: Sequence[int]) -> IntArray:
    """The part of each patient in turn, so many of each, evenly mixed."""
    places = [(np.arange(n) + 0.5) / n for n in counts]
    order = np.argsort(np.concatenate([np.empty(0), *places]), kind="stable")
    return np.repeat(np.arange(len(counts)), counts)[order]


def _matches(criteria: Criteria, batch: PatientBatch) -> BoolArray:
    fits = np.ones(len(batch.age), dtype=bool)
    for code, present in criteria.conditions.items():
        fits &= batch.present[code] == float(present)
        if code in batch.unknown:
            fits &= ~batch.unknown[code]
    if "sex" in criteria.categories:
        allowed = criteria.categories["sex"]
        fits &= np.where(batch.male > 0, "M" in allowed, "F" in allowed)
    if "age" in criteria.ranges:
        low, high = criteria.ranges["age"]
        fits &= (batch.age >= low) & (batch.age <= high)
    return fits


def effective_share(summary: Sequence[PartSummary]) -> float:
    """Kish's effective sample size for statements about the whole population, as a share of the cohort."""
    weights = np.array([part.prevalence / part.share for part in summary])
    shares = np.array([part.share for part in summary])
    return float((shares @ weights) ** 2 / (shares @ weights**2))
