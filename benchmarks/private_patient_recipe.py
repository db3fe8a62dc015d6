"""The linked patient's recipe: five modalities learnt from one population under one budget, and patients drawn.

Every modality is learnt by the project's own private path: profiles by conditioning.table (select, measure, generate),
coarse images by imaging.gaussian_prior.fit_private, ECG scores by signals.ecg.private.adapt from a public model, hourly
vitals by the three releases of signals.vitals.chart_training, genes by omics.model.learn_from. All of them are charged
to one ledger, whose limit is the whole budget.
"""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from private_patient_world import (
    CHANNELS,
    CRP,
    ELDERLY,
    ENCODER,
    GRAVE,
    HOURS,
    ILL,
    KNOWN,
    LATTICE,
    MAN,
    MOST,
    OXYGEN,
    SOFA,
    STRATUM,
    WARD,
    Patients,
    Values,
    World,
    profiles_of,
)

from polyclinic import Batch, seed_for
from polyclinic.conditioning.table.learning import learn_table
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.condition import columns_of, select
from polyclinic.core.config import DatasetConfig, FieldMap
from polyclinic.core.dp.budget import Budget, PrivacyPlan, compose, noise_for
from polyclinic.core.dp.ledger import pay
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights
from polyclinic.modalities.imaging.gaussian_prior import (
    MEAN_SHARE,
    GaussianPrior,
    PriorSettings,
    fit_private,
    fit_public,
)
from polyclinic.modalities.omics.classes import Classes
from polyclinic.modalities.omics.generator import OmicsGenerator
from polyclinic.modalities.omics.model import Config, learn_from
from polyclinic.modalities.omics.tumours import Layout, Tumours
from polyclinic.modalities.omics.vae import Network, Training
from polyclinic.modalities.signals.ecg.morphology import MorphologyModel, MorphologySpace
from polyclinic.modalities.signals.ecg.private import adapt
from polyclinic.modalities.signals.vitals.chart_model import ChartModel, Noise
from polyclinic.modalities.signals.vitals.chart_training import learn_charts
from polyclinic.modalities.signals.vitals.cohort_charts import CohortCharts
from polyclinic.modalities.signals.vitals.options import SeriesOptions

MODALITIES = ("profile", "image", "ecg", "vitals", "omics")
DELTA = 1e-5
HEART = ("age", "sex=M")  # what the public ECG model knows of a profile
FRESH = (ILL, GRAVE)  # what the hospital's patients teach it
LINEAR = ("age", "sex=M", f"{SOFA}[0,{MOST}]")  # what the public coarse image is a line in, beside illness
FIELDS = ("age", "sex", ILL, SOFA)  # of the table
STEERED = (ILL, MAN, ELDERLY, GRAVE)  # what vitals and genes are learnt by: flags, whose code varies most
GENES = columns_of(ENCODER.columns, STEERED)
PUBLIC_ECGS, SMALL = (
    4000,
    Config(network=Network(latent=16, width=96, factors=16), training=Training(steps=1200)),
)
SPREAD = 1.1  # where an image's vector about its mean is clipped: about its length in other hospitals
CELLS = 1000.0  # patients for each class of the coarse image, below which illness alone is one


@dataclass(frozen=True)
class Released:
    """What was learnt: one model a modality; vitals with the columns that they take."""

    profile: TableModel
    image: GaussianPrior
    ecg: MorphologyModel
    vitals: tuple[ChartModel, list[str]]
    omics: Weights


@dataclass(frozen=True)
class Hospital:
    """Where patients are learnt from: its world, whose public ECG model it starts from, its budget and its ledger.

    budgets: each modality's part; empty: learnt publicly, for comparison. `faults` are planted ones, of images: `noise`
    (none), `ledger` (learnt as public ones are, and not charged).
    """

    world: World
    hearts: MorphologyModel
    folder: Path
    budgets: Mapping[str, Budget]
    whole: Budget
    population: str = "hospital"
    faults: Collection[str] = ()

    @property
    def ledger(self) -> Path:
        """What was charged."""
        return self.folder / "ledger.jsonl"

    def fit(self, name: str, people: Patients, seed: int = 0) -> Fit:
        """How one modality is trained."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        budget = self.budgets.get(name)
        return Fit(
            folder=folder, accelerator="cpu", precision="32-true", seed=seed, progress=False, budget=budget,
            ledger=None if budget is None else self.ledger, limit=self.whole, population=self.population,
            people=tuple(people.table["patient_id"]),
        )  # fmt: skip

    def learn(self, people: Patients) -> Released:
        """All five."""
        return Released(**{name: LEARN[name](self, people) for name in MODALITIES})


def parts_of(whole: Budget, shares: Mapping[str, float]) -> dict[str, Budget]:
    """Each modality's budget; all together cost the whole: Gaussian mechanisms, whose precisions add."""
    noise = noise_for(whole, list(shares.values()))
    found = {}
    for name, multiplier in zip(shares, noise, strict=True):
        plan = PrivacyPlan.once(1, multiplier, whole.delta, name)
        found[name] = Budget(compose([plan], whole.delta, "prv"), whole.delta)
    return found


def public_hearts(world: World, seed: int) -> MorphologyModel:
    """The public ECG model: another hospital's patients, of whom age and sex alone are known."""
    others = world.patients(PUBLIC_ECGS, seed, "E")
    code = select(ENCODER.encode(others.profiles), ENCODER.columns, HEART)
    return MorphologyModel.fit(MorphologySpace({}), others.ecg, others.ecg, code, 8.0, 0.05)


# -- learning


def _profile(hospital: Hospital, people: Patients) -> TableModel:
    how = hospital.fit("profile", people)
    people.table.to_csv(how.folder / "patients.csv", index=False)
    config = DatasetConfig(
        name="hospital", split=None, fields={name: FieldMap(column=name) for name in FIELDS},
        declare={SOFA: KNOWN.field(SOFA).declaration()},
        options={"modality": "population", "columns": {
            "age": {"bins": [18, 35, 45, 50, 55, 60, 65, 70, 75, 80, 85, 96], "missing": False},
            "sex": {"missing": False}, ILL: {"missing": False},
            SOFA: {"bins": [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, MOST], "missing": False},
            "oxygen": {"levels": list(OXYGEN), "missing": False}, "ward": {"levels": list(WARD), "missing": False},
            "smoker": {"levels": ["no", "yes"], "missing": False},
            "crp": {"bins": list(CRP), "decimals": 1, "missing": False},
        }},
    )  # fmt: skip
    file = how.folder / "table.safetensors"
    learn_table(config, how.folder, how).save(file)
    return TableModel.load(file)


def _image(hospital: Hospital, people: Patients) -> GaussianPrior:
    how = hospital.fit("image", people)
    rank = people.image.shape[1]
    if how.budget is None or "ledger" in hospital.faults:
        code = select(ENCODER.encode(people.profiles), ENCODER.columns, LINEAR)
        return fit_public(people.image, code, people.profiles, PriorSettings(rank=rank, by=ILL))
    noise = noise_for(how.budget, [MEAN_SHARE, 1 - MEAN_SHARE])
    plans = {
        f"imaging, {what}": PrivacyPlan.once(len(people), size, how.budget.delta, f"the {what} of coarse images")
        for what, size in zip(("class means", "covariance"), noise, strict=True)
    }  # fmt: skip
    pay(how, plans, "hospital")
    by = STRATUM if len(people) / noise[0] > CELLS else ILL
    settings = PriorSettings(rank=rank, by=by, spread_norm=SPREAD)
    noise = [0.0, 0.0] if "noise" in hospital.faults else noise
    random = np.random.default_rng()
    prior = fit_private(
        people.image, people.profiles, settings, noise, hospital.world.scale, 0, random, KNOWN
    )
    return additive(prior, len(people), noise[0]) if by == STRATUM else prior


def additive(prior: GaussianPrior, patients: int, noise: float) -> GaussianPrior:
    """Class means as sums of what each flag of the stratum adds, at no cost: a rare stratum's own mean is mostly noise.

    Least squares over strata, each weighted by what noise and chance leave of it.
    """
    counts = prior.share * patients
    size = PriorSettings().mean_norm * np.sqrt(prior.rank) * noise
    weight = 1 / np.sqrt(np.square(size / counts) + 1 / counts)
    design = np.array([[1.0, *map(float, str(value))] for value in prior.values])
    found = np.linalg.lstsq(design * weight[:, None], prior.line[:, :, -1] * weight[:, None], rcond=None)[0]
    line = prior.line.copy()
    line[:, :, -1] = design @ found
    return replace(prior, line=line)


def _ecg(hospital: Hospital, people: Patients) -> MorphologyModel:
    how = hospital.fit("ecg", people)
    code = select(ENCODER.encode(people.profiles), ENCODER.columns, [*HEART, *FRESH])
    if how.budget is None:
        return MorphologyModel.fit(MorphologySpace({}), people.ecg, people.ecg, code, 8.0, 0.05)
    known = hospital.hearts
    more = np.insert(known.regression, [len(HEART)] * len(FRESH), 0.0, axis=0)
    start = MorphologyModel(**{**vars(known), "regression": more})
    fresh = range(len(HEART), len(HEART) + len(FRESH))
    return adapt(start, people.ecg, code, list(people.table["patient_id"]), how, "hospital", fresh)[0]


def _set(people: Patients) -> TrainingSet:
    ids = tuple(people.table["patient_id"])
    return TrainingSet(
        Path(), DatasetSource("hospital", "simulated"), ids, people.profiles, STEERED, "train", {}, KNOWN
    )


def _vitals(hospital: Hospital, people: Patients) -> tuple[ChartModel, list[str]]:
    onset = np.full(len(people), np.nan)
    charts = CohortCharts(
        people.vitals, people.length, onset, people.profiles, CHANNELS, SeriesOptions(hours=HOURS)
    )
    model, columns, _ = learn_charts([_set(people)], charts, ENCODER, hospital.fit("vitals", people))
    return model, columns


def tumours(people: Patients) -> Tumours:
    """The genes as the omics model takes them; classes are illness."""
    code = select(ENCODER.encode(people.profiles), ENCODER.columns, GENES)
    layout = Layout({"rna": tuple(f"G{i}" for i in range(people.rna.shape[1]))})
    ids, source = tuple(people.table["patient_id"]), DatasetSource("hospital", "simulated")
    return Tumours(
        people.rna, layout, code, tuple(GENES), ids, source, people.profiles,
        classes=Classes.of(KNOWN.field(ILL)),
    )  # fmt: skip


def _omics(hospital: Hospital, people: Patients) -> Weights:
    return learn_from(tumours(people), [_set(people)], SMALL, hospital.fit("omics", people))


LEARN: dict[str, Any] = {
    "profile": _profile,
    "image": _image,
    "ecg": _ecg,
    "vitals": _vitals,
    "omics": _omics,
}


# -- drawing


def drawn_table(model: TableModel, count: int, seed: int) -> pd.DataFrame:
    """Rows of the table, with ids."""
    found = model.sample(count, seed)
    found[[ILL]] = found[[ILL]].astype(bool)
    found[["age", SOFA, "crp"]] = found[["age", SOFA, "crp"]].astype(float)
    return found.assign(patient_id=[f"s{i}" for i in range(count)])


def drawn(released: Released, table: pd.DataFrame, seed: int, only: Collection[str] = MODALITIES) -> Patients:
    """Linked patients of these rows: every modality is drawn from the row's profile. Others than `only` stay zero."""
    profiles, count = profiles_of(table), len(table)
    code = ENCODER.encode(profiles)
    image, ecg = np.zeros((count, 1)), np.zeros((count, 1))
    vitals, length = np.zeros((count, HOURS, len(CHANNELS)), np.float32), np.full(count, HOURS)
    rna = np.zeros((count, 1), np.float32)
    if "image" in only:
        columns = LINEAR if released.image.line.shape[2] > 1 else ()
        given = select(code, ENCODER.columns, columns)
        image = np.stack(
            [
                released.image.draw(profile, row, random_of(seed, i, "image"))
                for i, (profile, row) in enumerate(zip(profiles, given, strict=True))
            ]
        ).astype(np.float64)
    if "ecg" in only:
        ecg = drawn_ecgs(released.ecg, select(code, ENCODER.columns, [*HEART, *FRESH]), seed)
    if "vitals" in only:
        model, columns = released.vitals
        seeds = [seed_for(seed, str(i), "vitals") for i in range(count)]
        noise = Noise.of(seeds, count, HOURS, len(CHANNELS))
        given = select(code, ENCODER.columns, columns)
        vitals, length = model.draw(given, columns, noise, LATTICE, HOURS, 1)
    if "omics" in only:
        seeds = tuple(seed_for(seed, str(i), "omics") for i in range(count))
        found = OmicsGenerator(released.omics, ENCODER.columns).sample(Batch(profiles, code, seeds))
        rna = np.stack([record.arrays["rna"] for record in found]).astype(np.float32)
    return Patients(table, image, ecg, vitals, length, rna)


def drawn_ecgs(model: MorphologyModel, code: Values, seed: int) -> Values:
    """(patient, score): as MorphologyModel.draw, without making a beat of each."""
    rows = [
        model._scores(random_of(seed, i, "ecg").standard_normal((1, len(model.cholesky))), row)[0]
        for i, row in enumerate(code)
    ]
    return np.stack(rows)


def random_of(seed: int, patient: int, stream: str) -> np.random.Generator:
    """Each patient's own."""
    return np.random.Generator(np.random.PCG64(seed_for(seed, str(patient), stream)))
