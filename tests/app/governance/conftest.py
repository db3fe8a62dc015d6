"""Releases on made-up records: a cohort, keys, a policy, and an evaluate() that finds what it is told."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from polyclinic.app.engines import generation as engine
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort.signing import new_key
from polyclinic.core.cohort.watermark import Mark
from polyclinic.eval.report import report

PLUGIN = Path(__file__).parents[2] / "plugin"
NOTES = "fake_notes"
POLICY = {
    "format": 2,
    "name": "lab",
    "terms": {"patients_at_least": 2, "roles": ["steward"], "retention_days": 30},
    "gate_one": {
        "limits": {
            "ks_above_baseline_at_most": 0.2,
            "frechet_above_baseline_at_most": 0.5,
            "c2st_auc_at_most": 0.9,
            "tstr_share_at_least": 0.8,
        },
        "linkage_score_at_least": 0.8,
    },
    "gate_two": {
        "auc_upper_at_most": 0.7,
        "tpr_at_1_fpr_at_most": 0.05,
        "near_copies_above_controls_at_most": 0.01,
        "public_weights": True,
        "epsilon_at_most": 10,
        "audit": True,
    },
    "may_be_unmeasured": ["*/fake_table"],
}


@pytest.fixture(autouse=True)
def _plugin(monkeypatch):
    """The fake modalities are installed."""
    monkeypatch.syspath_prepend(PLUGIN)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cohort, keys of a steward, an owner and a stranger, and a watermark's key; never changed."""
    place = tmp_path_factory.mktemp("home")
    for name in ("steward", "owner", "stranger"):
        new_key(place / f"{name}.pem")
    Mark.new(place / "mark.key")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        population = Population.load("general_ward")
        engine.make(population, 5, 3, place / "c", modalities=[NOTES, "fake_table"], workers=1)
    return place


@pytest.fixture
def place(home, tmp_path):
    """A copy of it, and a policy."""
    shutil.copytree(home, tmp_path / "home")
    (tmp_path / "home" / "lab.yaml").write_text(yaml.safe_dump(POLICY))
    return tmp_path / "home"


@pytest.fixture
def measured(monkeypatch):
    """An evaluate() that finds what it is told: a list of AUCs of C2ST, one a call, the last for ever."""
    calls, findings = [], [0.6]

    def evaluate(cohort, modalities, reference, out, *, show_real, progress):
        assert not show_real  # no picture of a real record may leave
        calls.append(cohort.folder.name)
        found = found_scores(findings[min(len(calls), len(findings)) - 1])
        (out / "scores.json").write_text(json.dumps(found))
        (out / "report.html").write_text("<p>report</p>")
        return found

    monkeypatch.setattr(report, "evaluate", evaluate)
    return calls, findings


def found_scores(c2st_auc=0.6):
    def score(metric, value, **more):
        return {
            "metric": metric,
            "status": "measured",
            "value": value,
            "real_baseline_interval": [0.6, 0.7],
            **more,
        }

    attack = {
        "modality": NOTES, "view": "note", "attack": "nearest_record", "auc": 0.5, "interval": [0.4, 0.6],
        "tpr_at_1_fpr": 0.01, "members": 100, "controls": 100,
    }  # fmt: skip
    copied = {"modality": NOTES, "view": "note", "exact": 0, "near": 0, "records": 5, "control_near": 0}
    tstr = score("tstr_auroc", 0.8, task="illness", real_baseline=0.8)
    shown = [score("ks", 0.1), score("frechet", 0.1), score("c2st_auc", c2st_auc), tstr]
    return {
        "format": "polyclinic-scores",
        "format_version": 2,
        "views": [{"modality": NOTES, "view": "note", "title": "Note", "scores": shown}],
        "linkage": {"score": 1.0, "inconsistent_patients": [], "consistency_by_subject": [{}]},
        "rules": {"patients": 5, "violations": 0},
        "privacy": {"attacks": [attack], "memorization": [copied], "identifiers": []},
    }


@pytest.fixture
def scores():
    """Of a cohort in which everything but the AUC of C2ST is good."""
    return found_scores
