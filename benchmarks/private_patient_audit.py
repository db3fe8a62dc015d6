"""The audit of the whole patient: canaries who stand out in every modality, and five planted faults.

A canary is one patient: an image, ECG scores and genes far out in a direction of their own, a stay at levels and a row
of the table by chance. Half of them, by the toss of a coin, are among the patients from whom all five
modalities are learnt at once; the auditor has everything that was released, and adds up what each modality tells
of each canary (Steinke et al. 2023, one run). 120 right guesses about 400 canaries would refute an epsilon of 3.7 at
most: that of 8 cannot be refuted by them, so faults are planted under a claim of 1, with the same split.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from private_patient_measures import of_charts, of_table
from private_patient_recipe import MODALITIES, Hospital, Released, parts_of
from private_patient_world import CHANNELS, CRP, HOURS, ILL, LATTICE, MOST, OXYGEN, WARD, Patients, Values

from polyclinic.core.dp import dp_statistics
from polyclinic.core.dp.budget import Budget, compose
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import BudgetExceeded
from polyclinic.core.types import FloatArray
from polyclinic.eval.attacks.privacy_audit import Audit, audit
from polyclinic.modalities.imaging import gaussian_prior
from polyclinic.modalities.omics.private import RELEASES
from polyclinic.modalities.signals.ecg import private as ecg_private
from polyclinic.modalities.signals.ecg.morphology import QUANTILES

CANARIES = 400
OTHERS = 5800  # patients beside them, who are all alike: the auditor knows them
FAR = 30.0  # lengths of a usual vector: clipping cuts them all
WEIGHT = {  # by about how much a release has room for: images and ECGs have covariances
    "image mean": 0.5, "image covariance": 1.0, "ecg mean": 0.3, "ecg covariance": 0.7, "omics": 0.3, "vitals": 0.2,
    "profile": 0.2,
}  # fmt: skip
PURPOSES = {  # modality: how the ledger calls what it releases
    "profile": ("population: ",), "image": ("imaging, ",), "ecg": ("signals, ecg ",), "vitals": ("vitals, ",),
    "omics": RELEASES,
}  # fmt: skip


@dataclass(frozen=True)
class Canaries:
    """Patients and their directions: image (canary, coordinate), ecg (canary, score) and genes (canary, gene)."""

    people: Patients
    image: Values
    ecg: Values
    genes: Values

    @classmethod
    def of(cls, hospital: Hospital, count: int, seed: int) -> "Canaries":
        """Patients of the world, with other records."""
        world, random = hospital.world, np.random.default_rng([seed, 3])
        people = world.patients(count, seed + 50, "C")
        size = people.image.shape[1]
        image = random.standard_normal((count, size))
        image /= np.linalg.norm(image, axis=1, keepdims=True)
        ecg, genes = (random.choice([-1.0, 1.0], own.shape) for own in (people.ecg, people.rna))
        level = random.integers(LATTICE.bins, size=(count, len(CHANNELS))) * LATTICE.step + LATTICE.low
        stays = np.repeat(level[:, None], HOURS, axis=1).astype(np.float32)
        table = people.table.assign(
            age=random.integers(18, 96, count).astype(float), sex=random.choice(["F", "M"], count),
            sofa=random.integers(0, MOST + 1, count).astype(float), oxygen=random.choice(OXYGEN, count),
            ward=random.choice(WARD, count), smoker=random.choice(["no", "yes"], count),
            crp=random.choice(CRP[:-1], count), **{ILL: random.random(count) < 0.5},
        )  # fmt: skip
        rna = np.clip(6 + 1e3 * genes, 0.01, 20).astype(np.float32)
        far = FAR * np.sqrt(size) * image / weights_of(hospital)
        records = replace(
            people, table=table, image=far, ecg=1e3 * ecg, vitals=stays, length=np.full(count, HOURS), rna=rna
        )
        return cls(records, image, ecg / np.sqrt(ecg.shape[1]), genes / np.sqrt(genes.shape[1]))

    def score(self, released: Released, hospital: Hospital) -> Values:
        """(canary,): the sum of what each modality tells, each in its own standard deviations."""
        found = self.signals(released, hospital)
        return np.sum(
            [WEIGHT[name] * (x - x.mean()) / (x.std() + 1e-12) for name, x in found.items()], axis=0
        )

    def signals(self, released: Released, hospital: Hospital) -> Mapping[str, Values]:
        """(canary,) of each release: how far it was moved towards the canary."""
        weight = weights_of(hospital)
        prior, hearts = released.image, released.ecg
        kind = np.array([list(prior.values).index(p.get(str(prior.by))) for p in self.people.profiles])
        means = np.einsum("nk,nk->n", self.image, prior.line[kind, :, -1] * weight)
        spreads = np.stack(
            [np.square(u * weight @ prior.root[i]).sum() for u, i in zip(self.image, kind, strict=True)]
        )
        known = hospital.hearts
        low, high = (known.quantiles[np.abs(QUANTILES - q).argmin()] for q in (0.16, 0.84))
        moved = (hearts.regression[-1] - known.regression[-1]) / ((high - low) / 2)
        middle = released.omics.arrays("marginals")["quantiles"]
        middle = middle[:, middle.shape[1] // 2]
        return {
            "image mean": means,
            "image covariance": spreads,
            "ecg mean": self.ecg @ moved,
            "ecg covariance": np.square(self.ecg @ hearts.cholesky).sum(1),
            "omics": self.genes @ (middle - middle.mean()),
            "vitals": of_charts(released.vitals[0], self.people),
            "profile": of_table(released.profile, self.people),
        }


def alike(people: Patients) -> Patients:
    """The same rows of the table, with one and the same image, ECG, stay and genes."""
    stay = np.repeat(people.vitals[:1], len(people), axis=0)
    return replace(
        people, image=0 * people.image, ecg=np.repeat(people.ecg.mean(0)[None], len(people), axis=0), vitals=stay,
        length=np.repeat(people.length[:1], len(people)), rna=np.full_like(people.rna, 6.0),
    )  # fmt: skip


def weights_of(hospital: Hospital) -> Values:
    """(coordinate,) by which images are weighed when they are clipped; see gaussian_prior.fit_private."""
    weight = np.sqrt(hospital.world.scale)
    return np.asarray(weight / np.sqrt(np.mean(weight**2)))


def audited(hospital: Hospital, seed: int, count: int = CANARIES, others: int = OTHERS) -> Audit:
    """One run, held to the hospital's whole budget."""
    canaries = Canaries.of(hospital, count, seed)
    crowd = alike(hospital.world.patients(others, seed + 60, "O"))

    def train(included: Sequence[int]) -> Released:
        return hospital.learn(crowd.and_also(canaries.people.at(np.array(included, dtype=np.int64))))

    def score(released: Released, _: Sequence[int]) -> FloatArray:
        return canaries.score(released, hospital)

    return audit(train, list(range(count)), score, hospital.whole, seed=seed)


def unbooked(ledger: Path) -> list[str]:
    """Modalities of which the ledger has no entry."""
    booked = [entry.purpose for entry in Ledger(ledger).entries()] if ledger.exists() else []
    return [name for name in MODALITIES if not any(own.startswith(PURPOSES[name]) for own in booked)]


def copies(released: Patients, people: Patients) -> int:
    """Released patients who are one of the people in every modality."""
    known = {row.tobytes() for row in _whole(people)}
    return sum(row.tobytes() in known for row in _whole(released))


def _whole(people: Patients) -> FloatArray:
    parts = (people.image, people.ecg, np.nan_to_num(people.vitals).reshape(len(people), -1), people.rna)
    return np.ascontiguousarray(np.concatenate(parts, axis=1, dtype=np.float64))


def twice(hospital: Hospital, people: Patients) -> tuple[float, bool]:
    """Epsilon that learning from the same people again would come to, and whether the ledger refuses it."""
    plans = [entry.plan() for entry in Ledger(hospital.ledger).entries()]
    try:
        hospital.learn(people)
    except BudgetExceeded:
        return compose([*plans, *plans], hospital.whole.delta, "prv"), True
    return compose([*plans, *plans], hospital.whole.delta, "prv"), False


@contextlib.contextmanager
def unclipped(planted: bool) -> Iterator[None]:
    """Without clipping, wherever the project's releases of images and ECGs clip."""
    with contextlib.ExitStack() as stack:
        for module in (dp_statistics, gaussian_prior, ecg_private) if planted else ():
            stack.enter_context(patch.object(module, "clip", lambda rows: rows))
        yield


def at_claim(hospital: Hospital, folder: Path, claim: Budget, shares: Mapping[str, float],
             faults: Collection[str] = ()) -> Hospital:  # fmt: skip
    """The same hospital and split under another budget, with a ledger of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    changes: dict[str, Any] = {"budgets": parts_of(claim, shares), "whole": claim, "faults": tuple(faults)}
    return replace(hospital, folder=folder, **changes)
