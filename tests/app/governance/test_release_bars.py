"""The bars of a release: copied training rows stop at gate two, noise at gate one, an honest draw passes.

On made-up records always; on real ones, of every modality, where the benchmark data are beside the repository.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyclinic.app.engines import generation as engine
from polyclinic.app.governance import retention
from polyclinic.app.governance.release import ReleaseContext, release
from polyclinic.app.training import references
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort.signing import new_key
from polyclinic.core.config import load, parse
from polyclinic.core.modality import DatasetSource, Record, Task, TrainingSet, View
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.eval.gate import judge
from polyclinic.eval.metrics import classifier
from polyclinic.eval.policy import Policy
from polyclinic.eval.report import report
from polyclinic.eval.verdict import ONE, TWO, Verdict

DATA = Path(__file__).parents[4] / "shared" / "data"
WIDTH = 8
ILL = Task("illness", ("healthy", "ill"), lambda profile, record: float(profile.conditions["A41.9"]))
Pairs = list[tuple[PatientProfile, Record]]


@dataclass
class Held:
    """A cohort in memory, of one modality."""

    pairs: Pairs
    folder: Path = Path("/nowhere")

    @property
    def patients(self) -> int:
        return len(self.pairs)

    def profiles(self) -> Iterator[PatientProfile]:
        return (profile for profile, _ in self.pairs)

    def records(self, modality: Any) -> Iterator[Patient]:
        return (Patient(profile, {modality.name: record}) for profile, record in self.pairs)


def decide(cohort: Held, modality: Any, reference: Any, out: Path) -> Verdict:
    """The partner policy's verdict on figures; size, link and rules are left to other tests."""
    own = load(Policy, "partner", "policy")[0].model_dump()
    own["terms"]["patients_at_least"] = 1
    own["may_be_unmeasured"] += ["linkage/*", "rules"]
    scores = report.evaluate(cohort, [modality], reference, out, show_real=False)
    manifest = {"patients": cohort.patients, "modalities": {modality.name: {"with_record": cohort.patients}}}
    approvals = {"owner": {"a"}, "steward": {"b"}}
    return judge(parse(Policy, own, "test"), manifest, json.loads(json.dumps(scores)), [], approvals)


# -- made-up records


class Toy:
    """Eight numbers a patient."""

    name = "toy"

    def views(self) -> list[View]:
        def features(records: Any) -> pd.DataFrame:
            return pd.DataFrame([r.arrays["x"] for r in records], columns=[f"f{i}" for i in range(WIDTH)])

        def picture(figure: Any, real: Any, synthetic: Any) -> str:
            return f"{len(synthetic)} synthetic"

        return [View("toy", "Toy", "x", features, (ILL,), picture, "Eight numbers.")]

    def load(self, data: TrainingSet) -> list[Record]:
        own = dict(data.options["rows"])
        return [own[record] for record in data.records]


def rows(n: int, seed: int, prefix: str) -> Pairs:
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        ill = bool(rng.random() < 0.4)
        who = PatientProfile(
            f"{prefix}{i}", age=float(rng.normal(60, 9)), sex="FM"[i % 2], conditions={"A41.9": ill}
        )
        out.append((who, Record({"x": rng.normal(size=WIDTH) + 2.0 * ill * (np.arange(WIDTH) < 2)})))
    return out


def training_set(pairs: Pairs, split: str) -> TrainingSet:
    names = tuple(str(i) for i in range(len(pairs)))
    kept = {"rows": [(name, record) for name, (_, record) in zip(names, pairs, strict=True)]}
    people = tuple(profile for profile, _ in pairs)
    return TrainingSet(Path("/nowhere"), DatasetSource("toy", "CC0"), names, people, (), split, kept)


TRAIN = rows(300, 1, "train-")
REFERENCE = {"toy": [(training_set(TRAIN, "train"), training_set(rows(300, 2, "test-"), "test"))]}


def renamed(pairs: Pairs) -> Pairs:
    return [(replace(p, patient_id=f"s-{i}"), record) for i, (p, record) in enumerate(pairs)]


def noise(pairs: Pairs, seed: int) -> Pairs:
    """The same patients and shapes; every array is uniform noise between its least and its largest value."""
    rng = np.random.default_rng(seed)

    def shaken(array: Any) -> Any:
        if array.dtype.kind not in "fu":
            return array
        low, high = float(np.nanmin(array)), float(np.nanmax(array))
        return rng.uniform(low, high, array.shape).astype(array.dtype)

    return [
        (p, replace(r, arrays={name: shaken(array) for name, array in r.arrays.items()})) for p, r in pairs
    ]


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "TREES", 20)


def test_an_honest_draw_of_made_up_records_passes(tmp_path: Path) -> None:
    verdict = decide(Held(rows(250, 3, "s-")), Toy(), REFERENCE, tmp_path)
    assert verdict.passed, verdict.reasons


def test_made_up_training_rows_copied_in_stop_at_gate_two(tmp_path: Path) -> None:
    verdict = decide(Held(renamed(TRAIN[:250])), Toy(), REFERENCE, tmp_path)
    assert verdict.refused_by == TWO, verdict.reasons
    failed = {check.key for check in verdict.failed}
    assert {"memorization/exact/toy/toy", "attack/auc/toy/toy/nearest_record"} <= failed


def test_made_up_noise_stops_at_gate_one(tmp_path: Path) -> None:
    drawn = rows(250, 4, "s-")
    far = [
        (p, Record({"x": np.random.default_rng(i).uniform(-9, 9, WIDTH)})) for i, (p, _) in enumerate(drawn)
    ]
    verdict = decide(Held(far), Toy(), REFERENCE, tmp_path)
    assert verdict.refused_by == ONE
    assert {"ks/toy", "c2st_auc/toy"} <= {check.key for check in verdict.failed}


# -- real records

real = pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark data are not beside the repository")


@pytest.fixture(scope="module")
def reference() -> Any:
    return references(DATA)


def training_rows(reference: Any, name: str, most: int = 120) -> Pairs:
    """Training records of every set of a modality, renamed."""
    found: Pairs = []
    for train, _ in reference[name]:
        some = replace(train, records=train.records[:most], profiles=train.profiles[:most])
        found += zip(some.profiles, load_modality(name).load(some), strict=True)
    return renamed(found)


@real
@pytest.mark.slow
@pytest.mark.parametrize("name", ["imaging", "signals", "omics"])
def test_training_rows_copied_in_stop_at_gate_two(name: str, reference: Any, tmp_path: Path) -> None:
    verdict = decide(Held(training_rows(reference, name)), load_modality(name), reference, tmp_path)
    assert any(check.gate == TWO and check.modality == name for check in verdict.failed), verdict.reasons


@real
@pytest.mark.slow
@pytest.mark.parametrize("name", ["imaging", "signals", "omics"])
def test_noise_stops_at_gate_one(name: str, reference: Any, tmp_path: Path) -> None:
    cohort = Held(noise(training_rows(reference, name), 0))
    verdict = decide(cohort, load_modality(name), reference, tmp_path)
    assert verdict.refused_by == ONE, verdict.reasons
    assert any(check.gate == ONE and check.modality == name for check in verdict.failed)


@real
@pytest.mark.slow
def test_a_cohort_of_the_shipped_weights_passes_the_partner_policy(tmp_path: Path) -> None:
    engine.make(Population.load("cardio_oncology"), 120, 11, tmp_path / "c", workers=1)
    for role in ("owner", "steward"):
        new_key(tmp_path / f"{role}.pem")
    retention.approve(tmp_path / "c", "owner", "partner", tmp_path / "owner.pem")
    outcome = release(tmp_path / "c", ReleaseContext.load("partner", tmp_path / "steward.pem", DATA))
    assert outcome.passed, outcome.reasons
