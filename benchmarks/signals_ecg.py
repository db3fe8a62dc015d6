"""The ECG's half of signals.py: what judges see of 12-lead records, ours, real ones and peers'.

Synthetic records get the profiles of training rows (age, sex, size, diagnoses, heart rate) and the acquisition device
of the set they are compared with; figures are against test rows. All are filtered to 0.5-45 Hz before they are judged.
"""

import importlib.util
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from signals_ecg_beats import beats, real_kinds, taught
from signals_ecg_figures import DELINEATED, apart, delineated, forest, ludb_marks, marked, network
from signals_ecg_peers import copula, deepfake, neurokit

from polyclinic import Batch, PatientProfile, ProfileEncoder, Record, seed_for
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import TrainConfig
from polyclinic.core.config import load as load_config
from polyclinic.core.dp.budget import Budget
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights, find, load
from polyclinic.modalities.signals.ecg.model import train_ecg, usable
from polyclinic.modalities.signals.ecg.sampler import EcgSampler
from polyclinic.modalities.signals.ecg.windows import read_ecgs
from polyclinic.modalities.signals.layout import RATE
from polyclinic.modalities.signals.metrics import ecg_features

ABNORMAL = "R94.31"
RHYTHMS = {
    "atrial fibrillation": "I48.91", "bradycardia": "R00.1", "tachycardia": "R00.0", "ventricular beats": "I49.3",
}  # fmt: skip
# of a rhythm or finding: column and pattern in ptbxl500's table, and in LUDB's
TAUGHT = {
    "sinus bradycardia": (("scp_codes", "SBRAD"), ("rhythm", "bradycardia")),
    "sinus tachycardia": (("scp_codes", "STACH"), ("rhythm", "tachycardia")),
    "sinus arrhythmia": (("scp_codes", "SARRH"), ("rhythm", "arrhythmia|Irregular")),
    "atrial fibrillation": (("scp_codes", "AFIB"), ("rhythm", "fibrillation")),
    "atrial flutter": (("scp_codes", "AFLT"), ("rhythm", "flutter")),
    "atrial premature beats": (("scp_codes", "PAC(?!E)"), ("extrasystolies", "Atrial")),
    "ventricular premature beats": (("scp_codes", "PVC"), ("extrasystolies", "Ventricular")),
    "left bundle-branch block": (("scp_codes", "CLBBB"), ("conduction", "Complete left bundle")),
    "right bundle-branch block": (("scp_codes", "CRBBB"), ("conduction", "Complete right bundle")),
    "paced": (("scp_codes", "PACE"), ("pacing", ".")),
    "infarction": (("superclass", "MI"), None),
    "hypertrophy": (("superclass", "HYP"), ("hypertrophies", "Left ventricular hypertrophy")),
    "ST-T changes": (("superclass", "STTC"), None),
}


@dataclass(frozen=True)
class Row:
    """A figure, what real records reach in the same place, its bar (with the sense of it), and a note."""

    figure: str
    value: float
    floor: float | None = None
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None without a bar; a figure that is not a number never meets one."""
        if self.most is None and self.least is None:
            return None
        return (
            bool(self.value <= self.most) if self.most is not None else bool(self.value >= (self.least or 0))
        )


@dataclass(frozen=True)
class Side:
    """Records of one split of one set, with profiles and features."""

    records: list[Record]
    profiles: list[PatientProfile]
    features: pd.DataFrame

    def rows(self, keep: Sequence[int]) -> "Side":
        """Some of them."""
        return Side(
            [self.records[i] for i in keep], [self.profiles[i] for i in keep], self.features.iloc[list(keep)]
        )


def read(data: Path) -> dict[str, tuple[Side, Side]]:
    """(train, test) of each of the ECG model's sets that is under `data`."""
    config = load_config(TrainConfig, "ecg", "train")[0]
    sides = {}
    for dataset in config.datasets:
        pair = []
        for split in ("train", "test"):
            part = read_training_set(dataset, data, split)
            records = read_ecgs(part)
            keep = [i for i, record in enumerate(records) if usable(record)]
            profiles = [part.profiles[i].but(measurements=records[i].facts["baseline"]) for i in keep]
            pair.append(Side([records[i] for i in keep], profiles, ecg_features([records[i] for i in keep])))
        sides[dataset.name] = (pair[0], pair[1])
    return sides


def drawn(
    weights: Weights, profiles: Sequence[PatientProfile], recorder: str, seed: int, critic: bool = True
) -> list[Record]:  # fmt: skip
    """A record for each profile; without the critic by the prior alone."""
    encoder = ProfileEncoder()
    sampler = EcgSampler(weights, encoder.columns, recorder, critic=critic)
    own = tuple(profiles)
    seeds = tuple(seed_for(seed, f"{p.patient_id}/{i}", "ecg") for i, p in enumerate(own))
    return sampler.sample(Batch(own, encoder.encode(own), seeds))


def useful(fit: Side, judge: Side, code: str, seed: int) -> float:
    """AUROC of a forest for a condition, learnt on `fit`, judged on `judge`."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    label = [np.array([bool(p.conditions.get(code)) for p in side.profiles]) for side in (fit, judge)]
    if min(label[0].sum(), label[1].sum(), (~label[0]).sum(), (~label[1]).sum()) < 2:
        return float("nan")
    model = RandomForestClassifier(
        400, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=-1
    )
    model.fit(fit.features.to_numpy(), label[0])
    return float(roc_auc_score(label[1], model.predict_proba(judge.features.to_numpy())[:, 1]))


def _by_marks(data: Path, ours: Sequence[Side]) -> Iterator[Row]:
    """Intervals by the cardiologists' marks of LUDB against those that we mark in what we drew."""
    config = load_config(TrainConfig, "ecg", "train")[0]
    dataset = next(d for d in config.datasets if d.name == "ludb")
    real, held = (ludb_marks(read_training_set(dataset, data, split)) for split in ("train", "test"))
    drawn = [
        pd.DataFrame([marked([(int(n), s) for n, s in record.facts["waves"]]) for record in own.records])
        for own in ours
    ]
    for name in ("PR", "QRS", "QT"):
        floor = apart(held[name].to_numpy(), real[name].to_numpy())
        value = float(np.mean([apart(held[name].to_numpy(), own[name].to_numpy()) for own in drawn]))
        yield Row(f"KS of {name}, marks (LUDB)", value, floor, most=floor + 0.05)


def tstr(data: Path) -> Iterator[Row]:
    """How many training records have a rhythm or finding."""
    tables = [pd.read_csv(data / "signals" / name / "patients.csv") for name in ("ptbxl500", "ludb")]
    tables = [table[table["split"] == "train"] for table in tables]
    for name, patterns in TAUGHT.items():
        counts = [
            0 if own is None else int(table[own[0]].fillna("").str.contains(own[1]).sum())
            for table, own in zip(tables, patterns, strict=True)
        ]
        note = " + ".join(map(str, counts)) + " (ptbxl500, LUDB)"
        yield Row(f"  training records: {name}", sum(counts), note=note)


def beat_row(
    sides: Mapping[str, tuple[Side, Side]], ours: Mapping[str, Sequence[Side]], seeds: Sequence[int]
) -> Row:
    """Normal against ventricular beats of real test records, by a classifier that learnt from drawn beats."""
    real = []
    for k in (0, 1):
        records = [r for pair in sides.values() for r in pair[k].records]
        profiles = [p for pair in sides.values() for p in pair[k].profiles]
        real.append(beats(records, [real_kinds(*row) for row in zip(records, profiles, strict=True)]))
    floor = float(np.mean([taught(real[0], real[1], seed) for seed in seeds]))
    drawn_beats = [
        beats(*zip(*((r, r.facts["kinds"]) for own in ours.values() for r in own[k].records), strict=True))
        for k in range(len(seeds))
    ]
    value = float(np.mean([taught(own, real[1], seed) for own, seed in zip(drawn_beats, seeds, strict=True)]))
    note = f"of {int(real[1][1].sum())} ventricular beats in {len(real[1][1])}"
    return Row(f"train on synthetic beats: V or N, AUROC ({note})", value, floor, least=0.97 * floor)


def on_rate(ours: Sequence[Side]) -> float:
    """Share of records within 3 /min of the profile's heart rate."""
    off = [
        abs(60 * RATE / np.median(np.diff(record.arrays["r_peaks"])) - profile.measurements["heart_rate"])
        for own in ours
        for record, profile in zip(own.records, own.profiles, strict=True)
    ]
    return float((np.array(off) <= 3).mean())


def rhythm_rows(
    sides: Mapping[str, tuple[Side, Side]], ours: Mapping[str, Sequence[Side]], seeds: Sequence[int]
) -> Iterator[Row]:
    """Rhythms that a forest, which learnt on real training rows of both sets, sees in synthetic and in test rows."""
    both, judged = (
        Side([], [p for pair in sides.values() for p in pair[k].profiles],
             pd.concat([pair[k].features for pair in sides.values()]))
        for k in (0, 1)
    )  # fmt: skip
    fakes = [
        Side([], [p for own in ours.values() for p in own[k].profiles],
             pd.concat([own[k].features for own in ours.values()]))
        for k in range(len(seeds))
    ]  # fmt: skip
    sums = []
    for name, code in RHYTHMS.items():
        real = float(np.mean([useful(both, judged, code, seed) for seed in seeds]))
        fake = float(np.mean([useful(both, own, code, seed) for own, seed in zip(fakes, seeds, strict=True)]))
        sums.append((fake, real))
        yield Row(f"  {name} seen in synthetic, AUROC", fake, real, note="reported")
    value, floor = (float(np.mean(column)) for column in zip(*sums, strict=True))
    yield Row("rhythms seen in synthetic, macro-AUROC", value, floor, least=0.97)


def speed(weights: Weights, profiles: Sequence[PatientProfile], recorder: str) -> float:
    """ms a record of processor time."""
    drawn(weights, profiles[:4], recorder, 9)
    began = time.process_time()
    drawn(weights, profiles, recorder, 9)
    return 1000 * (time.process_time() - began) / len(profiles)


def rows(
    data: Path, seeds: Sequence[int], weights: Weights | None = None, peers: bool = True
) -> Iterator[Row]:
    """Every figure of the ECG's bars, the mean over seeds; first what the data teach."""
    yield from tstr(data)
    weights = weights or load(find("ecg"))
    sides = read(data)
    names = list(sides)
    (train, test), other = sides[names[0]], sides[names[-1]]
    spent = speed(weights, train.profiles[:60], names[0])  # before peers fill the process with theirs
    ours = {
        name: [
            Side(records, sides[name][0].profiles, ecg_features(records))
            for records in (drawn(weights, sides[name][0].profiles, name, seed) for seed in seeds)
        ]
        for name in names
    }
    for name in names:
        a, b = sides[name]
        auc = np.mean(
            [forest(b.features, own.features, seed) for own, seed in zip(ours[name], seeds, strict=True)]
        )
        floor = np.mean([forest(b.features, a.features, seed) for seed in seeds])
        most = 0.70 if name == names[0] else 0.80
        yield Row(f"C2ST, forest, {name} ({len(b.records)} test)", float(auc), float(floor), most=most)
    yield Row(
        "  real of another recorder instead",
        float(np.mean([forest(test.features, other[0].features, s) for s in seeds])),
    )
    prior = [
        Side(records, train.profiles, ecg_features(records))
        for records in (drawn(weights, train.profiles, names[0], seed, critic=False) for seed in seeds)
    ]
    auc = np.mean([forest(test.features, own.features, s) for own, s in zip(prior, seeds, strict=True)])
    yield Row("  the prior without its critic instead", float(auc))
    plain = copula(train.records, len(test.records), seeds[0])
    yield Row("  a plain copula prior instead", forest(test.features, ecg_features(plain), seeds[0]))
    if peers:
        fake, slow = neurokit(
            [p.measurements["heart_rate"] for p in train.profiles[: len(test.records)]], seeds[0]
        )
        yield Row("  NeuroKit2 instead", forest(test.features, ecg_features(fake), seeds[0]))
        if importlib.util.find_spec("deepfakeecg"):
            yield Row(
                "  deepfake-ecg instead",
                forest(test.features, ecg_features(deepfake(len(test.records))), seeds[0]),
            )
    half = range(0, len(train.records), max(1, len(train.records) // len(test.records)))
    auc, before, floor = (
        float(np.mean([network(test.records, part, seed) for part, seed in zip(parts, seeds, strict=True)]))
        for parts in (
            [own.records for own in ours[names[0]]],
            [own.records for own in prior],
            [[train.records[i] for i in half]] * len(seeds),
        )
    )
    yield Row("C2ST, 1-D CNN", auc, floor, most=0.65)
    yield Row("  the prior without its critic instead", before)

    real, held = delineated(train.records), delineated(test.records)
    drawn_waves = [delineated(own.records) for own in ours[names[0]]]
    for name in DELINEATED:
        floor = apart(held[name].to_numpy(), real[name].to_numpy())
        value = float(np.mean([apart(held[name].to_numpy(), own[name].to_numpy()) for own in drawn_waves]))
        yield Row(f"KS of {name}, neurokit2", value, floor, most=floor + 0.05)
    if "ludb" in sides:
        yield from _by_marks(data, ours["ludb"])
    yield Row("share within 3 /min of the profile's heart rate", on_rate(ours[names[0]]), least=1.0)
    yield from rhythm_rows(sides, ours, seeds)
    floor = float(np.mean([useful(train, test, ABNORMAL, seed) for seed in seeds]))
    value, before = (
        float(np.mean([useful(own, test, ABNORMAL, seed) for own, seed in zip(made, seeds, strict=True)]))
        for made in (ours[names[0]], prior)
    )
    yield Row("train on synthetic: abnormal ECG, AUROC", value, floor, least=0.98 * floor)
    yield Row("  the prior without its critic instead", before)
    yield beat_row(sides, ours, seeds)
    residue = max(
        float(
            np.abs(
                np.rint(1000 * (e[1].astype(np.float64) - e[0])) - np.rint(1000 * e[2].astype(np.float64))
            ).max()
        )
        for e in (record.arrays["ecg"] for record in ours[names[0]][0].records)
    )
    yield Row("Einthoven residual, microvolts", residue, 0.0, most=0.0)
    yield Row("ms a record, one core", spent, most=10.0)
    if peers:
        yield Row("  NeuroKit2's ms a record", slow)


def private_rows(data: Path, seeds: Sequence[int], quick: bool = False) -> Iterator[Row]:
    """ptbxl500 learnt under a budget from public weights of LUDB; bars are set for epsilon 8, the rest is reported.

    The shipped model, which both sets taught as they are, is the public one. Quick: without delineation.
    """
    sides = read(data)
    train, test = sides["ptbxl500"]
    config = load_config(TrainConfig, "ecg", "train")[0]
    parts = {d.name: [read_training_set(d, data, "train")] for d in config.datasets}
    encoder = ProfileEncoder()
    floor = float(np.mean([useful(train, test, ABNORMAL, seed) for seed in seeds]))
    with tempfile.TemporaryDirectory() as folder:
        public = train_ecg(parts["ludb"], encoder, {}, {}, Fit(folder=Path(folder)))
        arms = {"public": load(find("ecg")), "LUDB's model as it is": public}
        for epsilon in (8.0, 1.0):
            how = Fit(folder=Path(folder) / str(epsilon), budget=Budget(epsilon, 5e-4))
            arms[f"epsilon {epsilon:g}"] = train_ecg(parts["ptbxl500"], encoder, {}, {}, how, public)
    taught_by_public = 0.0
    for name, weights in arms.items():
        device = "ptbxl500" if name == "public" else weights.card.model["recorders"][0]
        ours = [
            Side(records, train.profiles, ecg_features(records))
            for records in (drawn(weights, train.profiles, device, s) for s in seeds)
        ]
        judged = name == "epsilon 8"
        auc = np.mean([forest(test.features, own.features, s) for own, s in zip(ours, seeds, strict=True)])
        yield Row(f"{name}: C2ST, forest", float(auc), note="reported")
        value = float(np.mean([useful(own, test, ABNORMAL, s) for own, s in zip(ours, seeds, strict=True)]))
        taught_by_public = taught_by_public or value
        yield Row(f"{name}: abnormal ECG, AUROC", value, floor, note="reported")
        share = value / taught_by_public
        yield Row(f"{name}: the same over the public model's", share, least=0.95 if judged else None)
        yield Row(f"{name}: within 3 /min of the profile", on_rate(ours), note="reported")
        *_, rhythms = rhythm_rows({"ptbxl500": (train, test)}, {"ptbxl500": ours}, seeds)
        yield Row(
            f"{name}: rhythms, macro-AUROC", rhythms.value, least=0.95 if judged else None
        )  # too few in real test rows
        if not quick:
            yield from _intervals(name, train, test, ours[0])


def _intervals(name: str, train: Side, test: Side, ours: Side) -> Iterator[Row]:
    real, held, own = (delineated(side.records) for side in (train, test, ours))
    for part in DELINEATED:
        least = apart(held[part].to_numpy(), real[part].to_numpy())
        value = apart(held[part].to_numpy(), own[part].to_numpy())
        yield Row(f"{name}: KS of {part}", value, least, note="reported")
