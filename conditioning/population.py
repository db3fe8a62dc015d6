"""Population: synthetic profiles drawn from a cohort YAML, each from the seed and its index alone."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..core.config import load
from ..core.errors import InputError
from ..core.fields import BREAST_CANCER, BY_NAME
from ..core.profile import PatientProfile, seed_for
from ..core.registry import vocabulary
from ..core.training.weights import digest
from .case_mix import BODY, TABLE, CaseMix, open_table
from .design.cohort_config import CohortConfig, counted, parse_counts
from .design.criteria import ATRIAL, FROM_HEART_RATE, Criteria, Known
from .design.design import Design, effective_share
from .design.field_settings import (
    as_learnt,
    declared_by_weights,
    field_settings,
    require_possible,
    with_declarations,
)
from .distributions import PatientBatch
from .physiology import QUANTITIES, SEVERITY, USED, draw_values

FEW = 8.0  # effective candidates for a patient, of 64: with fewer, patients of a part are noticeably alike
SKEWED = 0.9  # effective share of the cohort, below which averages are noticeably others
_UNIFORMS = tuple(dict.fromkeys([*BY_NAME, *USED, "index_date", "part"]))


class Population:
    """All patients a cohort YAML can give: patient(i, seed) depends on the cohort, the seed and i alone.

    `vocabulary` holds the fields that may be known of them. Raises InputError, naming file and key, for a design
    that no patients can satisfy.
    """

    def __init__(self, config: CohortConfig, where: str = "cohort") -> None:
        self.config, self.where = config, where
        table = open_table(config, where)
        known = vocabulary().declare(table.declared if table else {}, f"{where}: table")
        self.vocabulary = known = known.declare(config.declare, where)
        tabled = {column.name for column in table.columns} if table else set()
        settings = field_settings(config, known, tabled, where)
        require_possible(config, settings, known, tabled, where)
        self._mix = CaseMix(config, settings, known, where, table)
        columns = [f"{TABLE}{column.name}" for column in (table.columns if table else ())]
        self._names = tuple(dict.fromkeys([*_UNIFORMS, *columns, *settings]))
        self._design = Design(config, self._mix, where)
        self.summary = self._design.summarize(self._names)
        self._known = Known(known, self._mix.drawn)
        self._twin = self._changes(config.twin, f"{where}: twin")

    @classmethod
    def load(cls, name: str, counts: str | None = None) -> "Population":
        """The population of a shipped cohort (`cardio_oncology`), of a YAML file, or of a site of one (`FILE:SITE`).

        `counts` asks for so many patients of each class of one field, as `melanoma: 300 yes, 300 no`. Fields that
        the cohort names and nobody has declared are taken from the weights in force. Raises InputError.
        """
        name, _, site = name.partition(":")
        config, path = load(CohortConfig, name, "cohort")
        if site:
            config = config.site(site, str(path))
        if config.table is not None and not config.table.sha256:
            file = (path.parent / Path(config.table.file)).resolve()
            if not file.is_file():
                raise InputError(
                    f"{path}: table: {file}: no such file; `polyclinic train population` makes one"
                )
            table = config.table.model_copy(update={"file": str(file), "sha256": digest(file)})
            config = config.model_copy(update={"table": table})
        if counts is not None:
            config = config.model_copy(update={"counts": parse_counts(counts)})
        config = with_declarations(config, str(path))
        known = vocabulary().declare(config.declare, str(path))
        config = as_learnt(config, known)
        if (
            counts is not None
            and config.table is None
            and (strange := [n for n in config.counts if n not in known])
        ):
            meant = known.meant(strange[0], declared_by_weights())
            raise InputError(
                f"--fields: {strange[0]!r} neither ships nor is declared by weights in force; {meant}name them with "
                f"--use, or declare it in a cohort YAML for --cohort: `declare: {{{strange[0]}: {{kind: flag, label: "
                "TEXT}}`"
            )
        for name, asked in config.counts.items() if counts is not None else ():
            if name in known:
                counted(asked, known.field(name), "--fields")
        return cls(config, str(path))

    @property
    def labels(self) -> tuple[str, ...]:
        """The fields that the cohort declares, sets or counts, or that its table has: columns of labels.csv."""
        config, tabled = self.config, self._mix.tabled
        learnt = [known.name for known in self.vocabulary.declared if known.name in tabled]
        return tuple(dict.fromkeys([*config.counts, *config.fields, *config.declare, *learnt]))

    def number(self, asked: int | None) -> int:
        """How many patients to draw: as asked, or what `counts` adds up to. Raises InputError if these differ."""
        wanted = sum(n for counts in self.config.counts.values() for n in counts.values())
        if not (asked or wanted):
            raise InputError("say how many patients: --patients N, or --fields 'FIELD: N CLASS, N CLASS'")
        if asked is not None and wanted and asked != wanted:
            raise InputError(
                f"--patients {asked}: --fields (or `counts` in {self.where}) add up to {wanted}; leave it out"
            )
        return wanted if asked is None else asked

    @property
    def effective_share(self) -> float:
        """Kish's effective sample size for statements about the whole population, as a share of the cohort.

        It falls where the design's shares differ from those of the population.
        """
        return effective_share(self.summary)

    def describe(self, patients: int) -> list[str]:
        """What the reader of a cohort must know of its design, a sentence a line; none where all is well."""
        lines = [
            f"{part.title}: few kinds of people fit, so that these patients resemble each other more than real ones do"
            for part in self.summary
            if part.effective < FEW
        ]
        if self.effective_share < SKEWED:
            lines.append(
                f"the shares are as asked, not those of {self.config.name}: an average over all {patients} patients "
                "is not an average over that population"
            )
        return lines

    def patient_id(self, index: int, seed: int) -> str:
        """`PC-7F3A2C-000012`: six hex digits for cohort and seed, then the index."""
        mark = blake2b(f"{self.config.name}/{seed}".encode(), digest_size=3).hexdigest().upper()
        return f"PC-{mark}-{index:06d}"

    def draw(self, n: int, seed: int) -> Iterator[PatientProfile]:
        """Patients 0 to n - 1, one at a time. Raises InputError at once unless n is a whole number over 0."""
        if isinstance(n, bool) or not isinstance(n, int) or n <= 0:
            raise InputError(f"the number of patients must be a whole number over 0, got {n!r}")
        return (self.patient(index, seed) for index in range(n))

    def patient(self, index: int, seed: int) -> PatientProfile:
        """The profile of one patient, whoever else is drawn."""
        return self._patient(index, seed, self._twin)

    def twin(self, index: int, seed: int, changes: Mapping[str, Any]) -> PatientProfile:
        """The same patient, had the changed fields been so: all random numbers are kept, and so is the id.

        What follows from a change follows by the cohort's rules; a learnt table's other columns stay.
        Raises InputError for a change that cannot be.
        """
        return self._patient(index, seed, self._changes(changes, "twin"))

    def _changes(self, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
        criteria = Criteria.of(changes, self._known, where)
        if ranged := [name for name, value in changes.items() if isinstance(value, list)]:
            raise InputError(f"{where}.{ranged[0]}: a twin needs one value, got {changes[ranged[0]]!r}")
        return {**changes, **{name: next(iter(words)) for name, words in criteria.categories.items()}}

    def _patient(self, index: int, seed: int, twin: Mapping[str, Any]) -> PatientProfile:
        patient_id = self.patient_id(index, seed)
        # One number a vocabulary field, so that a change to one condition leaves the others' draws alone.
        rng = np.random.default_rng(seed_for(seed, patient_id, "profile"))
        u = dict(zip(self._names, rng.random(len(self._names)).tolist(), strict=True))
        place = self._design.place(index, u["part"])
        part = self._design.parts[place]
        if not part.open:
            u |= self._design.choose(place, self._names, seed_for(seed, patient_id, "candidates"))
        rows = {name: np.array([number]) for name, number in u.items()}
        batch = self._mix.draw(rows, part.criteria, twin, self._design.draws(place))
        profile = self._profile(patient_id, u, batch, part.criteria, twin)
        return self.vocabulary.checked(profile, self.config.name)

    def _profile(
        self,
        patient_id: str,
        u: Mapping[str, float],
        batch: PatientBatch,
        criteria: Criteria,
        twin: Mapping[str, Any],
    ) -> PatientProfile:
        age, sex = round(float(batch.age[0]), 1), "M" if batch.male[0] else "F"
        conditions = {
            code: bool(has[0])
            for code, has in batch.present.items()
            if not (code in batch.unknown and batch.unknown[code][0])
        }
        drawn = {name: values[0] for name, values in batch.values.items() if not _unknown(values[0])}
        fixed = {name: float(value) for name, value in drawn.items() if name in (*QUANTITIES, *BODY)}
        fixed |= {name: twin[name] for name in twin if name in QUANTITIES or name == SEVERITY}
        values = draw_values(age, sex, conditions, u, fixed)
        regular = not any(conditions.get(code, False) for code in ATRIAL)
        fast, slow = FROM_HEART_RATE
        child = QUANTITIES["heart_rate"].child_factor(age, sex)
        days = self.config.index_date
        after = int(u["index_date"] * ((days.last - days.first).days + 1))
        return PatientProfile(
            patient_id=patient_id,
            age=age,
            sex=sex,
            height=values.pop("height"),
            weight=values.pop("weight"),
            conditions={
                **conditions,
                fast: regular and values["heart_rate"] > 100 * child,
                slow: regular and values["heart_rate"] < 60 * child,
            },
            measurements={
                **values,
                **{
                    name: float(x)
                    for name, x in drawn.items()
                    if name not in (*QUANTITIES, *BODY) and not isinstance(x, str)
                },
            },
            traits={
                **self._traits(u, batch, conditions, criteria, twin),
                **{name: x for name, x in drawn.items() if isinstance(x, str)},
            },
            index_date=days.first + timedelta(days=after),
        )

    def _traits(
        self,
        u: Mapping[str, float],
        batch: PatientBatch,
        conditions: Mapping[str, bool],
        criteria: Criteria,
        twin: Mapping[str, Any],
    ) -> dict[str, str]:
        """X-ray view and tumour subtype, among those that the criteria allow."""
        traits: dict[str, str] = {}
        if self._mix.ap_rule is not None:
            bedside = float(self._mix.ap_rule.chance(batch)[0])
            traits["chest_view"] = _pick(
                u["chest_view"], {"AP": bedside, "PA": 1 - bedside}, "chest_view", criteria
            )
        if self.config.pam50 and any(conditions.get(code) for code in BREAST_CANCER):
            traits["pam50"] = _pick(u["pam50"], self.config.pam50, "pam50", criteria)
        return {name: str(twin.get(name, value)) for name, value in traits.items()}


def _unknown(value: Any) -> bool:
    return value is None or value != value  # NaN is not itself


def _pick(u: float, shares: Mapping[str, float], field_name: str, criteria: Criteria) -> str:
    """One of the words, by its share among those that are allowed."""
    allowed = {w: s for w, s in shares.items() if s > 0 and w in criteria.categories.get(field_name, shares)}
    # a twin may have been moved to where only other words have a share
    left = u * sum((allowed := allowed or dict(shares)).values())
    for word, share in allowed.items():
        if left < share:
            return word
        left -= share
    return word
