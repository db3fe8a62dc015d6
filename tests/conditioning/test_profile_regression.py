"""Declared fields among real patients become settings of a cohort YAML, for nothing or within a budget."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.conditioning.design.field_settings import as_learnt
from polyclinic.conditioning.population import Population
from polyclinic.conditioning.private_regression import PrivateRegression
from polyclinic.conditioning.profile_regression import field_distributions
from polyclinic.core.dp.budget import Budget, compose
from polyclinic.core.errors import InputError
from polyclinic.core.fields import SHIPPED, Declaration, Field
from polyclinic.core.profile import PatientProfile
from polyclinic.core.training.weights import Card, DataUsed, Weights

DECLARED = {
    "worn": Declaration(kind="flag"),
    "calm": Declaration(kind="flag"),
    "grade": Declaration(kind="category", classes=["low", "high", "never"]),
    "score": Declaration(kind="number", range=(0, 100)),
}
FIELDS = [Field.of(name, declaration) for name, declaration in DECLARED.items()]


def patients(count: int, seed: int = 0) -> tuple[list[PatientProfile], list[dict[str, float]]]:
    """Worn people are old men with low scores, calm ones have slow and regular hearts."""
    rng = np.random.default_rng(seed)
    profiles, measured = [], []
    for i in range(count):
        age, man = float(rng.uniform(20, 90)), bool(rng.random() < 0.5)
        worn = bool(rng.random() < 1 / (1 + np.exp(-((age - 60) / 8 + (2 * man - 1)))))
        calm = bool(rng.random() < 0.4)
        grade = "high" if rng.random() < (0.7 if age > 55 else 0.2) else "low"
        profiles.append(
            PatientProfile(
                patient_id=f"P{i}", age=age, sex="M" if man else "F", conditions={"worn": worn, "calm": calm},
                traits={"grade": grade}, measurements={"score": 50 - 20 * worn + float(rng.normal(0, 5))},
            )
        )  # fmt: skip
        measured.append({"heart_rate": 80 - 25 * calm + float(rng.normal(0, 4 if calm else 12))})
    return profiles, measured


def test_what_goes_together_is_found() -> None:
    found = field_distributions(*_with(patients(2000)))
    assert found["worn"]["per_decade"] == pytest.approx(np.exp(10 / 8), rel=0.2)
    assert found["worn"]["men"] == pytest.approx(np.exp(2), rel=0.4)
    assert found["calm"]["per_decade"] == pytest.approx(1, abs=0.1)
    assert found["grade"]["per_decade"]["high"] > found["grade"]["per_decade"]["low"]
    assert found["grade"]["shares"]["never"] == 0
    assert found["score"]["given"]["worn"] == pytest.approx(-20, abs=1.5)
    assert found["heart_rate"]["given"] == {"calm": pytest.approx(-25, abs=1.5)}
    assert found["heart_rate"]["sd_given"]["calm"] == pytest.approx(1 / 3, rel=0.15)
    assert found["heart_rate"]["sd"] == pytest.approx(12, rel=0.1)


def hearts(count: int) -> tuple[list[PatientProfile], list[dict[str, float]]]:
    """One in eight is calm: a heart rate of 48 to 57. Nobody else has less than 56, and a few have 110."""
    rng = np.random.default_rng(3)
    calm = rng.random(count) < 1 / 8
    rates = np.where(calm, rng.uniform(48, 57, count), 56 + rng.gamma(1.5, 10, count))
    profiles = [
        PatientProfile(f"P{i}", age=60.0 + i % 9, sex="FM"[i % 2], conditions={"calm": bool(c)})
        for i, c in enumerate(calm)
    ]
    return profiles, [{"heart_rate": float(rate)} for rate in rates]


def _overlap(found: dict[str, object]) -> float:
    """The share of those who are not calm that are drawn under 56 a minute."""
    drawn = list(Population(_cohort(found, {"calm": {"yes": 200, "no": 200}})).draw(400, 1))
    rates = np.array([p.measurements["heart_rate"] for p in drawn])
    calm = np.array([p.has("calm") for p in drawn])
    assert np.mean(rates[calm] < 58) > 0.9
    return float(np.mean(rates[~calm] < 55))


def test_a_number_keeps_the_shape_it_has_in_each_class(tmp_path: Path) -> None:
    profiles, measured = hearts(400)
    found = field_distributions(profiles, FIELDS[1:2], measured)
    assert _overlap(found) < 0.03
    assert (
        _overlap({**found, "heart_rate": {k: v for k, v in found["heart_rate"].items() if "shape" not in k}})
        > 0.05
    )
    regression = PrivateRegression.of(FIELDS[1:2], measured)
    noised = regression.release(profiles, measured, 0.3, tmp_path / "noised.json", resume=False)
    assert _overlap(noised) < 0.1


def _with(made: tuple[list[PatientProfile], list[dict[str, float]]]) -> tuple[object, ...]:
    profiles, measured = made
    return profiles, FIELDS, measured


@pytest.mark.parametrize("count", [0, 3, 25])
def test_few_patients_give_what_they_can(count: int) -> None:
    found = field_distributions(*_with(patients(count)))
    assert count >= 20 or found == {}


def test_nobody_knows_age_or_sex() -> None:
    profiles, measured = patients(200)
    found = field_distributions([p.but(age=None, sex=None) for p in profiles], FIELDS, measured)
    assert set(found["worn"]) <= {"share", "given"}


def test_a_number_that_no_declared_flag_moves_is_left_to_the_rules() -> None:
    profiles, measured = patients(300)
    same = [{"heart_rate": 70.0 + i % 7} for i in range(len(measured))]
    assert "heart_rate" not in field_distributions(profiles, FIELDS, same)


@given(st.integers(0, 10_000))
def test_a_patient_moves_the_release_by_one_at_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    profile = PatientProfile(
        patient_id="P", age=float(rng.choice([0.0, 60.0, 110.0])), sex=str(rng.choice(["F", "M"])),
        conditions={name: bool(rng.random() < 0.5) for name in ("worn", "calm")}, traits={"grade": "high"},
    )  # fmt: skip
    shown = [{"heart_rate": float(rng.choice([-1e9, 20.0, 1e9]))}]
    rows = PrivateRegression.of(FIELDS, shown)._rows([profile], shown)
    assert np.linalg.norm(rows) <= 1 + 1e-9


def test_the_shares_of_the_budget_add_up() -> None:
    budget = Budget(4, 1e-4)
    left, plan = PrivateRegression.split(budget, 1000)
    assert 3.4 < left.epsilon < 4
    assert plan.epsilon("prv") < 1.5
    assert left.delta == plan.delta == budget.delta
    rest = PrivateRegression.split(left, 1000)[1].noise_multiplier
    assert compose([plan], 1e-4, "prv") < budget.epsilon
    assert rest > plan.noise_multiplier
    with pytest.raises(InputError, match="delta must be"):
        PrivateRegression.split(Budget(4, 1e-2), 1000)


def test_a_noised_release_finds_what_is_strong(tmp_path: Path) -> None:
    profiles, measured = patients(3000)
    regression = PrivateRegression.of(FIELDS, measured)
    file = tmp_path / "run" / "profile_fields.json"
    found = regression.release(profiles, measured, 5.0, file, resume=False)
    assert found["worn"]["per_decade"] > 1.8
    assert found["worn"]["men"] > 2
    assert found["calm"]["per_decade"] == pytest.approx(1, abs=0.1)
    assert found["heart_rate"]["given"]["calm"] == pytest.approx(-25, abs=5)
    again = regression.release(profiles[:10], measured[:10], 5.0, file, resume=True)
    assert again == found, "what was released once is not drawn again"
    assert regression.release(profiles, measured, 5.0, file, resume=False) != found


def test_noise_alone_moves_nothing_far(tmp_path: Path) -> None:
    profiles, measured = patients(200)
    regression = PrivateRegression.of(FIELDS, measured)
    for i in range(20):
        found = regression.release(profiles, measured, 500.0, tmp_path / f"{i}.json", resume=False)
        cohort = _cohort(found)
        assert len(list(Population(cohort).draw(20, i))) == 20, "whatever the noise, patients can be drawn"


def _cohort(fields: dict[str, object], counts: dict[str, dict[str, int]] | None = None) -> CohortConfig:
    values = {
        "name": "own", "index_date": {"first": "2024-01-01", "last": "2024-12-31"}, "age": {"mean": 55, "sd": 18},
        "declare": DECLARED, "fields": fields, "counts": counts or {},
    }  # fmt: skip
    return CohortConfig.model_validate(values)


def test_patients_are_drawn_as_they_were_learnt() -> None:
    found = field_distributions(*_with(patients(2000)))
    drawn = list(Population(_cohort(found, {"worn": {"yes": 150, "no": 150}})).draw(300, 1))
    worn = np.array([p.has("worn") for p in drawn])
    age = np.array([p.age for p in drawn], dtype=float)
    men = np.array([p.sex == "M" for p in drawn])
    assert worn.sum() == 150
    assert age[worn].mean() - age[~worn].mean() > 12
    assert men[worn].mean() - men[~worn].mean() > 0.1
    calm = np.array([bool(p.has("calm")) for p in drawn])
    rate = np.array([p.measurements["heart_rate"] for p in drawn])
    assert rate[~calm].mean() - rate[calm].mean() == pytest.approx(25, abs=4)
    assert rate[calm].std() < 0.6 * rate[~calm].std()


def test_counts_take_what_the_weights_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = field_distributions(*_with(patients(500)))
    used = DataUsed(name="made up", licence="none", rows=500, patients=500, privacy="public")
    card = Card(
        name="own", modality="omics", kind="test", data=[used], privacy="public", steps=1, columns=[], model={},
        declared=DECLARED, distributions=found,
    )  # fmt: skip
    Weights({}, card).save(tmp_path / "own.safetensors")
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(tmp_path))
    asked = _cohort({}, {"worn": {"yes": 1, "no": 1}})
    taken = as_learnt(asked, SHIPPED)
    assert taken.fields == found
    stated = _cohort({"worn": {"share": 0.3}}, {"worn": {"yes": 1, "no": 1}})
    assert as_learnt(stated, SHIPPED) == stated, "what the cohort says itself stands"
    assert as_learnt(_cohort({}), SHIPPED) == _cohort({})
