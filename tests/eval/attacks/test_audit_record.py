"""Audits on file: every shipped private weight has one under its claim, and a cohort's scores say which it has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from polyclinic.core.dp.budget import Budget
from polyclinic.core.errors import InputError
from polyclinic.core.training import weights
from polyclinic.core.training.weights import Card, Weights
from polyclinic.eval.attacks.attack import PrivacyResult, attack
from polyclinic.eval.attacks.audit_record import ENDING, MISSING, PUBLIC, UNKNOWN, audits, on_file, write
from polyclinic.eval.attacks.privacy_audit import Audit
from polyclinic.eval.report.render import section

SHIPPED = weights.folders()[-1]
PRIVATE = [
    path for path in sorted(SHIPPED.glob("*.safetensors")) if weights.read_card(path).epsilon is not None
]
FOUND = Audit(Budget(8.0, 1e-5), canaries=1000, guesses=300, right=200)


@dataclass
class Drawn:
    manifest: Mapping[str, Any] = field(default_factory=dict)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in force with one public and one private weight file."""
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(tmp_path))
    for name, epsilon in (("open", None), ("closed", 8.0)):
        card = Card(
            name=name, modality="toy", kind="toy", data=[], privacy="public" if epsilon is None else "private",
            epsilon=epsilon, delta=None if epsilon is None else 1e-5, steps=1, columns=[], model={},
        )  # fmt: skip
        Weights({"x": torch.zeros(1)}, card).save(tmp_path / f"{name}.safetensors")
    return tmp_path


def cohort(place: Path, **other: str) -> Drawn:
    hashes = {name: weights.digest(place / f"{name}.safetensors") for name in ("open", "closed")}
    return Drawn({"weights": {**hashes, **other}, "population": {}})


@pytest.mark.parametrize("path", PRIVATE, ids=lambda path: path.stem)
def test_every_shipped_private_weight_has_an_audit_under_its_claim(path: Path) -> None:
    found = on_file([SHIPPED])[weights.digest(path)]
    claimed = weights.read_card(path).epsilon
    assert claimed is not None
    assert found["claimed"] == pytest.approx(claimed, abs=1e-3)
    assert 0 <= found["lower_bound"] <= claimed
    assert found["ceiling"] > 0  # it could have said something
    assert found["confidence"] >= 0.95


def test_there_are_shipped_private_weights_and_no_audit_of_others() -> None:
    assert PRIVATE
    assert set(on_file([SHIPPED])) == {weights.digest(path) for path in PRIVATE}


def test_a_cohort_is_told_which_of_its_weights_were_audited(place: Path) -> None:
    rows = {row.name: row for row in audits(cohort(place, gone="0" * 64)) or []}
    assert [rows[name].reason for name in ("open", "closed", "gone")] == [PUBLIC, MISSING, UNKNOWN]
    write(FOUND, place / "closed.safetensors", "a toy")
    rows = {row.name: row for row in audits(cohort(place)) or []}
    assert rows["closed"].lower_bound == pytest.approx(FOUND.lower_bound, abs=1e-4)
    assert rows["closed"].reason is None
    assert "under the 8.00" in rows["closed"].in_words


def test_weights_trained_again_need_another_audit(place: Path) -> None:
    write(FOUND, place / "closed.safetensors", "a toy")
    card = weights.read_card(place / "closed.safetensors")
    Weights({"x": torch.ones(1)}, card).save(place / "closed.safetensors")
    (row,) = [row for row in audits(cohort(place)) or [] if row.name == "closed"]
    assert (row.lower_bound, row.reason) == (None, MISSING)


def test_the_table_of_profiles_is_audited_beside_its_own_file(place: Path, tmp_path_factory: Any) -> None:
    own = tmp_path_factory.mktemp("table") / "table.safetensors"
    own.write_bytes((place / "closed.safetensors").read_bytes() + b"")
    write(FOUND, own, "a toy")
    table = {"file": str(own), "sha256": weights.digest(own)}
    rows = audits(Drawn({"weights": {}, "population": {"table": table}})) or []
    assert [(row.name, row.reason) for row in rows] == [("population", None)]


def test_scores_and_report_say_so(place: Path) -> None:
    write(FOUND, place / "closed.safetensors", "a toy")
    found = PrivacyResult([], [], None, audits(cohort(place)))
    rows = {row["name"]: row for row in json.loads(json.dumps(found.to_dict()))["audits"]}
    assert rows["open"]["lower_bound"] is None
    assert rows["closed"]["lower_bound"] > 0
    assert "closed: epsilon is at least" in section("privacy", privacy=found)
    assert "open: not measured" in section("privacy", privacy=found)


def test_a_cohort_of_another_tool_is_not_measured() -> None:
    assert audits(object()) is None
    found = attack({})
    assert found.to_dict()["audits"] is None
    assert "does not say which weights drew it" in section("privacy", privacy=found)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other", "version": 1}'])
def test_a_file_that_is_no_audit_is_named(place: Path, content: str) -> None:
    (place / f"closed{ENDING}").write_text(content)
    with pytest.raises(InputError, match=r"closed\.audit\.json: expected an audit"):
        audits(cohort(place))
