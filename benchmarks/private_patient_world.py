"""A simulated hospital: linked patients whose truth is stated, in which one illness shows in every modality.

A patient has an age, a sex, pneumonia or not (J18.9) and a SOFA score, charted up to 12. Each modality shows all four,
as far as EFFECTS says, beside variation of its own; given these four, modalities are independent of each other, as the
design of Polyclinic takes them to be. Images are coordinates of a coarse image, ECGs are morphology scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polyclinic import PatientProfile, ProfileEncoder
from polyclinic.core.fields import FIELDS, SHIPPED
from polyclinic.modalities.signals.channels import VITALS
from polyclinic.modalities.signals.vitals.quantizer import Lattice
from polyclinic.modalities.signals.vitals.stay_features import KINDS, features_of

Values = NDArray[np.float64]
ILL, SOFA, STRATUM = "J18.9", "sofa", "stratum"
MAN, ELDERLY, GRAVE = "man", "elderly", "grave"  # flags that age, sex and SOFA give
SIZES = {"image": 64, "ecg": 48, "rna": 100}
# how far the modality's numbers lie apart for illness, ten years of age, sex, and 3 points of SOFA: in standard
# deviations along the best direction (Mahalanobis)
EFFECTS = {
    "image": (1.5, 0.5, 0.9, 0.6),
    "ecg": (1.2, 0.6, 0.9, 0.5),
    "vitals": (1.2, 0.5, 0.7, 0.7),
    "rna": (1.4, 0.6, 1.2, 0.7),
}
MODULES = (30, 20, 10, 20)  # genes that each of the four bears on
FACTORS = 6  # that a modality's own variation shares, and the part of it that they make up
SHARED = 0.4
CHANNELS = tuple(c for c in VITALS if c.name in ("HR", "MAP", "Resp", "Temp"))
USUAL = np.array(
    [[85.0, 12.0, 5.0], [37.0, 0.5, 0.25], [82.0, 10.0, 6.0], [19.0, 3.5, 2.5]]
)  # level, between, within
BEARS = np.array(
    [[0.6, -0.6, -0.6, 0.5], [0.6, 0.0, 0.0, 0.0], [-0.3, 0.6, 0.6, -0.7], [0.6, 0.5, -0.5, 0.5]]
)
# (channel, truth): where illness, age, sex and SOFA take the channels
HOURS, CHARTED = 24, 0.75
OTHERS = ("oxygen", "crp", "smoker", "ward")  # columns of the table beside the fields
OXYGEN, WARD = ("none", "nasal", "mask", "ventilated"), ("medicine", "surgery", "intensive care")
CRP = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 400.0)  # mg/L, edges of public bins
OLD, SEVERE, MOST = 65, 8, 12
LABELS = ("ill", "old", "male", "severe")

KNOWN = SHIPPED.declare(
    {
        SOFA: {"kind": "number", "label": "SOFA score", "range": [0, MOST], "decimals": 0},
        MAN: {"kind": "flag", "label": "Male"},
        ELDERLY: {"kind": "flag", "label": f"{OLD} years or more"},
        GRAVE: {"kind": "flag", "label": f"SOFA of {SEVERE} or more"},
        STRATUM: {"kind": "category", "label": "Stratum", "classes": [f"{k:04b}" for k in range(16)]},
    },
    "private_patient",
)
ENCODER = ProfileEncoder([*FIELDS, *KNOWN.declared], KNOWN.declared)
LATTICE = Lattice.of(CHANNELS)


@dataclass(frozen=True)
class Patients:
    """Linked patients: a row of the table, and a record of each modality, in the same order.

    image (patient, coordinate) in public standard deviations; ecg (patient, score); vitals (patient, hour, channel)
    with NaN, stays of `length` hours; rna (patient, gene) log2.
    """

    table: pd.DataFrame
    image: Values
    ecg: Values
    vitals: NDArray[np.float32]
    length: NDArray[np.int64]
    rna: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.table)

    def at(self, rows: Sequence[int] | NDArray[np.int64]) -> "Patients":
        """These patients."""
        parts = {name: own[rows] for name, own in vars(self).items() if name not in ("table", *CACHED)}
        return Patients(self.table.iloc[rows].reset_index(drop=True), **parts)

    def and_also(self, others: "Patients") -> "Patients":
        """Both groups."""
        names = ("image", "ecg", "vitals", "length", "rna")
        both = {name: np.concatenate([getattr(self, name), getattr(others, name)]) for name in names}
        return Patients(pd.concat([self.table, others.table], ignore_index=True), **both)

    @cached_property
    def profiles(self) -> tuple[PatientProfile, ...]:
        """What the table says of each; the stratum is made of it."""
        return profiles_of(self.table)

    @cached_property
    def labels(self) -> dict[str, NDArray[np.bool_]]:
        """(patient,) of each label."""
        t = self.table
        found = (t[ILL], t["age"] >= OLD, t["sex"] == "M", t[SOFA] >= SEVERE)
        return dict(zip(LABELS, (own.to_numpy(bool) for own in found), strict=True))

    @cached_property
    def views(self) -> dict[str, Values]:
        """(patient, number) of each modality, as a classifier or an attacker sees them."""
        stay = features_of(self.vitals, self.length, LATTICE)
        shown = [k for k in range(len(CHANNELS) * len(KINDS)) if KINDS[k % len(KINDS)] != "charted"]
        vitals = np.where(stay.known, stay.values, 0.0)[:, shown]
        words = [self.table[name].map(list(levels).index).to_numpy(float)[:, None] == np.arange(len(levels))
                 for name, levels in (("oxygen", OXYGEN), ("ward", WARD))]  # fmt: skip
        numbers = np.column_stack([np.log1p(self.table["crp"]), self.table["smoker"] == "yes"])
        table = np.concatenate([*words, numbers], axis=1).astype(np.float64)
        return {"profile": table, "image": self.image, "ecg": self.ecg, "vitals": vitals,
                "omics": self.rna.astype(np.float64)}  # fmt: skip


CACHED = ("profiles", "labels", "views")


def profiles_of(table: pd.DataFrame) -> tuple[PatientProfile, ...]:
    """Profiles of rows (patient_id, age, sex, J18.9, sofa)."""
    out = []
    for pid, age, sex, ill, sofa in zip(
        table["patient_id"], table["age"], table["sex"], table[ILL], table[SOFA], strict=True
    ):
        flags = dict(
            zip((ILL, MAN, ELDERLY, GRAVE), (ill, sex == "M", age >= OLD, sofa >= SEVERE), strict=True)
        )
        stratum = "".join(str(int(own)) for own in flags.values())
        out.append(
            PatientProfile(
                pid, age=float(age), sex=sex, conditions={name: bool(own) for name, own in flags.items()},
                measurements={SOFA: float(sofa)}, traits={STRATUM: stratum},
            )
        )  # fmt: skip
    return tuple(out)


@dataclass(frozen=True)
class Look:
    """How a modality shows the truth: numbers = truth @ slopes.T + own variation of that root."""

    slopes: Values  # (number, truth)
    root: Values  # (number, number)

    @classmethod
    def of(cls, size: int, effects: Sequence[float], random: np.random.Generator, where: Values) -> "Look":
        """Random directions, each as clear as its effect says; `where` (number, truth): on which numbers they bear."""
        loadings = random.standard_normal((size, FACTORS))
        loadings *= np.sqrt(SHARED / np.square(loadings).sum(1, keepdims=True))
        covariance = loadings @ loadings.T + (1 - SHARED) * np.eye(size)
        slopes = random.standard_normal((size, len(effects))) * where
        apart = np.sqrt(np.einsum("ik,ik->k", slopes, np.linalg.solve(covariance, slopes)))
        return cls(slopes / apart * np.asarray(effects), np.linalg.cholesky(covariance))

    def draw(self, truth: Values, random: np.random.Generator) -> Values:
        """(patient, number) of (patient, truth)."""
        return np.asarray(
            truth @ self.slopes.T + random.standard_normal((len(truth), len(self.root))) @ self.root.T
        )


@dataclass(frozen=True)
class World:
    """What is true of every patient: one look a modality, and a public scale of the image's components."""

    looks: dict[str, Look]
    genes: Values  # (gene, 2): level and spread
    scale: Values

    @classmethod
    def of(cls, seed: int) -> "World":
        """Another seed is another world: other directions, levels and correlations."""
        random = np.random.default_rng([seed, 1])
        scale = np.arange(1, SIZES["image"] + 1) ** -0.5
        where = {
            "image": np.repeat(scale[:, None], 4, axis=1),  # more in the leading components
            "ecg": np.ones((SIZES["ecg"], 4)),
            "rna": np.stack([np.isin(np.arange(SIZES["rna"]), random.choice(SIZES["rna"], most, replace=False))
                             for most in MODULES], axis=1).astype(np.float64),
        }  # fmt: skip
        looks = {name: Look.of(size, EFFECTS[name], random, where[name]) for name, size in SIZES.items()}
        genes = np.column_stack([random.normal(6, 1.6, SIZES["rna"]), random.uniform(0.9, 2.0, SIZES["rna"])])
        return cls(looks, genes, scale)

    def patients(self, count: int, seed: int, name: str = "P", shift: float = 0.0) -> Patients:
        """Fresh patients; `shift` is how far another hospital's devices move images and ECGs."""
        random = np.random.default_rng([seed, 2])
        age = np.clip(np.round(random.normal(62, 14, count)), 18, 95)
        male = random.random(count) < 0.52
        ill = random.random(count) < 1 / (1 + np.exp(0.9 - (age - 62) / 20))
        sofa = np.clip(np.round(random.gamma(3, 1.6, count) + 1.8 * ill + (age - 62) / 25), 0, MOST)
        truth = np.column_stack([ill, (age - 62) / 10, male, (sofa - 6) / 3])
        return replace(self._records(truth, random, shift), table=_table(name, age, male, ill, sofa, random))

    def _records(self, truth: Values, random: np.random.Generator, shift: float) -> Patients:
        image, ecg, rna = (look.draw(truth, random) for look in self.looks.values())
        vitals, length = _vitals(truth, random)
        values = self.genes[:, 0] + self.genes[:, 1] * rna
        return Patients(
            pd.DataFrame(),
            image + shift,
            ecg + shift,
            vitals,
            length,
            np.clip(values, 0.01, 20).astype(np.float32),
        )


def _table(
    name: str, age: Values, male: Values, ill: Values, sofa: Values, random: np.random.Generator
) -> pd.DataFrame:
    worse = 1.1 * ill + (sofa - 6) / 4 + random.logistic(0, 0.8, len(age))
    return pd.DataFrame(
        {
            "patient_id": [f"{name}{i}" for i in range(len(age))],
            "age": age,
            "sex": np.where(male, "M", "F"),
            ILL: ill.astype(bool),
            SOFA: sofa,
            "oxygen": np.array(OXYGEN)[np.digitize(worse, [0.3, 1.4, 2.8])],
            "crp": np.clip(np.round(np.exp(random.normal(2.2 + 1.3 * ill, 0.9, len(age))), 1), 0, 399),
            "smoker": np.where(random.random(len(age)) < 0.25 + 0.12 * male, "yes", "no"),
            "ward": np.array(WARD)[
                np.digitize((sofa - 6) / 3 + random.logistic(0, 0.7, len(age)), [0.2, 1.2])
            ],
        }
    )


def _vitals(truth: Values, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Hourly charts: a patient's own level, and readings about it of which one follows the last."""
    count = len(truth)
    bears = BEARS / np.sqrt(np.square(BEARS).sum(0)) * np.asarray(EFFECTS["vitals"])
    own = random.standard_normal((count, len(CHANNELS))) + truth @ bears.T
    readings = np.empty((count, HOURS, len(CHANNELS)))
    state = random.standard_normal((count, len(CHANNELS)))
    for hour in range(HOURS):
        state = 0.7 * state + np.sqrt(1 - 0.49) * random.standard_normal(state.shape) if hour else state
        readings[:, hour] = USUAL[:, 0] + USUAL[:, 1] * own + USUAL[:, 2] * state
    length = random.integers(12, HOURS + 1, count)
    seen = (random.random(readings.shape) < CHARTED) & (np.arange(HOURS)[:, None] < length[:, None, None])
    steps = LATTICE.low + LATTICE.step * np.rint((readings - LATTICE.low) / LATTICE.step)
    inside = LATTICE.rounded(np.clip(steps, LATTICE.low, LATTICE.high))
    return np.where(seen, inside, np.nan).astype(np.float32), length
