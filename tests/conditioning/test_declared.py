"""Declared fields from a training folder to a cohort: read, learnt, kept on cards, drawn, counted, written."""

import csv
import os
import re
from collections import Counter
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from polyclinic.app.engines import generation as engine
from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.conditioning.design.cohort_config import CohortConfig, parse_counts
from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.errors import InputError
from polyclinic.core.fields import SHIPPED
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training.weights import Weights, load, read_card, using

PLUGIN = Path(__file__).parents[1] / "plugin"
DECLARE: dict[str, Any] = {
    "melanoma": {"kind": "flag", "label": "Melanoma", "codes": {"icd10cm": "C43.9"}},
    "cdr": {"kind": "category", "classes": [0, 0.5, 1]},
    "mmse": {"kind": "number", "range": [0, 30], "unit": "{score}"},
}
MINIMAL: dict[str, Any] = {
    "name": "mine",
    "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
    "age": {"mean": 60, "sd": 15},
}


def population(**more: Any) -> Population:
    return Population(parse(CohortConfig, {**MINIMAL, "declare": DECLARE, **more}, "mine.yaml"), "mine.yaml")


# -- a training folder


def folder(place: Path, **described: Any) -> Path:
    rng = np.random.default_rng(0)
    ill = rng.random(400) < 0.4
    table = pd.DataFrame(
        {"record": [f"r{i}" for i in range(400)], "patient_id": np.arange(400), "melanoma": np.where(ill, "yes", "no"),
         "cdr": np.where(ill, 0.5, 0.0), "points": 20.5 + 4 * ill + rng.integers(0, 3, 400),
         "age": rng.integers(2, 90, 400)}
    )  # fmt: skip
    table.loc[0, ["cdr", "melanoma"]] = [np.nan, None]
    place.mkdir(parents=True, exist_ok=True)
    table.to_csv(place / "patients.csv", index=False)
    fields = {"age": {"column": "age"}, "mmse": {"column": "points"}}
    (place / "dataset.yaml").write_text(
        yaml.safe_dump({"name": "own", "split": None, "fields": fields, "declare": DECLARE, **described})
    )
    return place


def read(place: Path, private: bool = False, **changed: Any) -> Any:
    described = yaml.safe_load((place / "dataset.yaml").read_text())
    return read_training_set(parse(DatasetConfig, {**described, **changed}, "d"), place, "train", private)


def test_a_table_is_read_by_the_declarations(tmp_path: Path) -> None:
    data = read(folder(tmp_path))
    assert set(data.fields) == {
        "age",
        "mmse",
        "melanoma",
        "cdr",
    }  # melanoma and cdr by the column of their name
    profiles = data.profiles
    assert {p.get("cdr") for p in profiles} == {None, "0", "0.5"}
    assert {p.get("melanoma") for p in profiles} == {None, True, False}
    assert profiles[0].get("mmse") is not None
    assert min(p.age for p in profiles) < 18
    assert data.vocabulary.field("cdr").classes == ("0", "0.5", "1")


def test_what_is_not_stated_is_learnt_of_public_data_alone(tmp_path: Path) -> None:
    declare = {**DECLARE, "cdr": {"kind": "category"}, "mmse": {"kind": "number", "unit": "{score}"}}
    place = folder(tmp_path, declare=declare)
    with (
        pytest.warns(DataWarning, match=r"cdr: learnt from the table: \['0', '0.5'\]"),
        pytest.warns(DataWarning, match=r"mmse: learnt from the table: \[20.5, 26.5\]"),
    ):
        known = read(place).vocabulary
    assert known.field("cdr").classes == ("0", "0.5")
    assert (known.field("mmse").low, known.field("mmse").high) == (20.5, 26.5)
    with pytest.raises(
        InputError, match=r"declare.cdr: state its classes, since patients' data may not settle it"
    ):
        read(place, private=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fields": {"C43.9": {"column": "melanoma"}}, "declare": {}}, "unknown field or code 'C43.9'; declare it"),
        ({"declare": {**DECLARE, "ulcer": {"kind": "flag"}}}, "no column 'ulcer'.*`fields: {ulcer: {column: NAME}}`"),
        ({"declare": DECLARE | {"cdr": {"kind": "category", "classes": [0, 1]}}}, "cdr must be one of 0, 1, got '0.5'"),
        ({"declare": {**DECLARE, "mmse": {"kind": "number", "range": [0, 22]}}}, "mmse must lie in 0 to 22"),
        ({"fields": {"melanoma": {"column": "points"}, "mmse": {"column": "points"}}}, "melanoma must be true"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        read(folder(tmp_path), **changed)
    assert "\n" not in str(refusal.value)


# -- cards and weights


def stays(place: Path) -> Path:
    """Twenty stays whose heart rate follows a declared flag."""
    place.mkdir()
    rows = [{"record": f"s{i}", "patient_id": f"s{i}", "delirium": i % 2} for i in range(20)]
    series = [
        {"patient_id": f"s{i}", "hour": hour, "HR": 70 + 30 * (i % 2), "O2Sat": 97, "Temp": 37, "SBP": 120, "MAP": 83,
         "DBP": 65, "Resp": 16}
        for i in range(20)
        for hour in range(1, 9)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    pd.DataFrame(series).to_parquet(place / "series.parquet")
    declare = {"delirium": {"kind": "flag", "label": "Delirium", "codes": {"icd10cm": "F05"}}}
    described = {
        "name": "stays",
        "split": None,
        "declare": declare,
        "options": {"kind": "vitals", "hours": 6},
    }
    (place / "dataset.yaml").write_text(yaml.safe_dump(described))
    return place


@pytest.mark.filterwarnings("ignore:.*rows after the first .* hours of their stay")
def test_weights_carry_the_declarations_and_give_them_to_cohorts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"kind": "vitals", "network": {"hours": 6, "width": 8, "head": 4, "embed": 4},
             "training": {"steps": 2, "batch_size": 4}}  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(
        yaml.safe_dump({"modality": "signals", "name": "vitals", "model": model})
    )
    out = tmp_path / "weights" / "delirium.safetensors"
    out.parent.mkdir()
    config = str(tmp_path / "tiny.yaml")
    train("signals", stays(tmp_path / "d"), out, Privacy(), config=config, precision="32-true")
    card = read_card(out)
    assert {"delirium", "delirium?"} <= set(card.columns)
    assert card.declared["delirium"].codes == {"icd10cm": "F05"}
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(out.parent))
    drawn = Population.load("adults", "delirium: 2 yes, 3 no")  # declared by the weights alone
    assert [p.get("delirium") for p in drawn.draw(5, 0)].count(True) == 2
    assert set(card.columns) <= set(ProfileEncoder.of(drawn.vocabulary, ["delirium"]).columns)
    weights = load(out)
    other = card.model_copy(
        update={"declared": {"delirium": card.declared["delirium"].model_copy(update={"label": "Acute"})}}
    )
    Weights(weights.tensors, other).save(tmp_path / "named.safetensors")
    with using({"vitals": tmp_path / "named.safetensors"}):  # as --use does: before those of the folder
        assert Population.load("adults", "delirium: 2 yes").vocabulary.field("delirium").label == "Acute"
    again = Population(drawn.config)  # as a worker has it, from the manifest
    assert [p.to_dict() for p in again.draw(5, 0)] == [p.to_dict() for p in drawn.draw(5, 0)]


@pytest.mark.parametrize("privacy", ["public", "epsilon"])
def test_a_learnt_table_draws_declared_fields(tmp_path: Path, privacy: str) -> None:
    declare = {**DECLARE, "cdr": {"kind": "category"}}  # its classes are learnt, and charged under a budget
    place = folder(tmp_path / "d", declare=declare, options={"modality": "population"})
    paid = Privacy() if privacy == "public" else Privacy(60.0, 1e-4, tmp_path / "ledger.jsonl")
    card = train("population", place, tmp_path / "t.safetensors", paid)
    assert set(card.declared) == set(DECLARE)
    assert card.declared["cdr"].classes == ["0", "0.5", "other"]
    config = {**MINIMAL, "table": str(tmp_path / "t.safetensors"), "include": {"cdr": [0, 0.5]}}
    drawn = list(Population(parse(CohortConfig, {**config, "age": None}, "t"), "t").draw(300, 1))
    known = [p for p in drawn if p.get("melanoma") is not None]
    share = np.mean([p.get("melanoma") for p in known])
    assert 0.25 < share < 0.55
    assert np.mean([(p.get("cdr") == "0.5") == p.get("melanoma") for p in known]) > 0.8
    rates = [[float(p.get("mmse") or 0) for p in known if p.get("melanoma") is has] for has in (True, False)]
    assert np.mean(rates[0]) > np.mean(rates[1]) + 2


def test_an_unstated_range_of_private_data_is_refused_before_any_charge(tmp_path: Path) -> None:
    declare = {**DECLARE, "mmse": {"kind": "number"}}
    place = folder(tmp_path / "d", declare=declare, options={"modality": "population"})
    with pytest.raises(
        InputError, match=r"declare.mmse: state its range, since patients' data may not settle it"
    ):
        train("population", place, tmp_path / "t", Privacy(60.0, 1e-4, tmp_path / "ledger.jsonl"))
    assert not (tmp_path / "ledger.jsonl").exists()


# -- a cohort YAML

FIELDS: dict[str, Any] = {
    "melanoma": {"share": 0.3, "per_decade": 1.4, "men": 1.5},
    "cdr": {"shares": {0: 0.6, 0.5: 0.3, 1: 0.1}, "per_decade": {1: 1.5}, "given": {"melanoma": {0.5: 4}}},
    "mmse": {"mean": 22, "sd": 2, "given": {"cdr=1": -8, "melanoma": 1}},
}


def test_shares_means_and_dependence_are_as_asked() -> None:
    drawn = list(population(fields=FIELDS).draw(3000, 3))
    assert np.mean([p.get("melanoma") for p in drawn]) == pytest.approx(0.3, abs=0.035)
    for name, share in {"0": 0.6, "0.5": 0.3, "1": 0.1}.items():
        assert np.mean([p.get("cdr") == name for p in drawn]) == pytest.approx(share, abs=0.035)
    ill, well = ([p for p in drawn if p.has("melanoma") is has] for has in (True, False))
    assert np.mean([p.get("cdr") == "0.5" for p in ill]) > 2 * np.mean([p.get("cdr") == "0.5" for p in well])
    assert np.mean([p.age for p in ill]) > np.mean([p.age for p in well]) + 2
    assert np.mean([p.measurements["mmse"] for p in drawn]) == pytest.approx(22, abs=0.3)
    low = [p.measurements["mmse"] for p in drawn if p.get("cdr") == "1"]
    assert np.mean(low) < 16
    assert all(0 <= p.measurements["mmse"] <= 30 for p in drawn)


def test_what_a_cohort_declares_moves_no_other_field() -> None:
    plain = [p.to_dict() for p in population(conditions={"I10": 0.3}).draw(40, 5)]
    more = population(conditions={"I10": 0.3}, fields=FIELDS).draw(40, 5)
    for before, profile in zip(plain, more, strict=True):
        after = profile.to_dict()
        for mapping in ("conditions", "measurements", "traits"):
            kept = {k: v for k, v in after.get(mapping, {}).items() if k not in DECLARE}
            assert kept == before.get(mapping, {})
        assert after["age"] == before["age"]


def test_declared_fields_can_be_chosen_by() -> None:
    strata = [
        {"share": 0.5, "who": {"cdr": 1, "mmse": [20, 25]}},
        {"share": 0.5, "who": {"cdr": [0, 0.5], "melanoma": True}},
    ]
    drawn = list(population(fields=FIELDS, strata=strata).draw(120, 2))
    first = [p for p in drawn if p.get("cdr") == "1"]
    assert 35 < len(first) < 85
    assert all(20 <= p.measurements["mmse"] <= 25 for p in first)
    assert all(p.has("melanoma") for p in drawn if p.get("cdr") != "1")
    twin = population(fields=FIELDS).twin(3, 2, {"cdr": 1})
    assert twin.get("cdr") == "1"


@pytest.mark.parametrize("spread", [{"range": [5, 9]}, {"table": [[5, 6, 0.9], [8, 9, 0.1]]},
                                    {"mean": 7, "sd": 1, "low": 5, "high": 9, "log": False},
                                    {"mean": 7, "sd": 0.1, "low": 5, "high": 9, "log": True}], ids=str)  # fmt: skip
def test_a_number_stays_where_it_is_put(spread: dict[str, Any]) -> None:
    found = [p.measurements["mmse"] for p in population(fields={"mmse": spread}).draw(200, 1)]
    assert 5 <= min(found) <= max(found) <= 9
    if "table" in spread:
        assert np.mean([x <= 6 for x in found]) == pytest.approx(0.9, abs=0.08)
        assert not any(6 < x < 8 for x in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {"ulcer": 0.2}}, r"fields: unknown field or code 'ulcer'; declare it"),
        ({"conditions": {"cdr": 0.2}}, "cdr is not a condition"),
        ({"fields": {"cdr": {0: 0.5, 2: 0.5}}}, "cdr must be one of 0, 0.5, 1, got '2'"),
        ({"fields": {"cdr": {0: 0.5, 1: 0.1}}}, "shares must be 0 or more and add up to 1"),
        ({"fields": {"mmse": {"mean": 40, "sd": 1}}}, "must lie in the field's range of 0 to 30"),
        ({"fields": {"mmse": {"mean": 4}}}, "mean needs sd"),
        ({"fields": {"mmse": 4}}, "fields.mmse: unknown key 'share'"),
        ({"fields": {"melanoma": {"share": 0.1, "given": {"cdr": 2}}, "cdr": {0: 1}}}, "cdr must be listed"),
        ({"fields": {"cdr": {0: 1}, "melanoma": {"share": 0.1, "given": {"cdr": 2}}}}, "cdr is no flag; of a category"),
        ({"fields": {"cdr": {0: 1}, "melanoma": {"share": 0.1, "given": {"cdr=3": 2}}}}, "one of 0, 0.5, 1, got '3'"),
        ({"fields": {"age": {"mean": 4, "sd": 1}}}, "follows from the cohort's other settings"),
        ({"include": {"melanoma": True}}, "not among the cohort's conditions or fields; add it"),
        ({"counts": {"melanoma": {"maybe": 3}}}, "melanoma: expected one of .*got 'maybe'"),
        ({"counts": {"mmse": {"3": 3}}}, "mmse is a number; counts need"),
        ({"counts": {"melanoma": {"yes": 0}}}, "asks for no patients"),
        ({"counts": {"cdr": {0: 3}}, "strata": [{"share": 1, "who": {"sex": "F"}}]}, "give one of fairness"),
        ({"declare": {"x": {"kind": "category"}}, "fields": {"x": {"a": 1}}}, "state its classes under declare"),
    ],
)  # fmt: skip
def test_impossible_fields_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        population(**changes)
    assert "\n" not in str(refusal.value)


# -- the documentation

PAGE = Path(__file__).parents[2] / "docs/how-to/fields.md"


def test_what_the_page_shows_can_be_declared_and_drawn() -> None:
    blocks = [
        dedent(part)
        for part in PAGE.read_text().split("\n\n")
        if part.startswith(("    declare:", "    # declare"))
    ]
    first, reading, spread = (yaml.safe_load(block) for block in blocks)
    assert set(SHIPPED.declare(first["declare"], "page").field(n).kind for n in first["declare"]) == {
        "flag", "category", "number",
    }  # fmt: skip
    assert set(parse(DatasetConfig, reading, "page").fields) == {"age", "melanoma", "cdr"}
    more = {"thickness": {"kind": "number", "range": [0, 20]}, "mmse": {"kind": "number", "range": [0, 30]}}
    drawn = population(
        declare={**first["declare"], **more}, conditions={"A41.9": 0.1}, fields=spread["fields"]
    )
    for profile in drawn.draw(20, 1):
        assert 20 <= profile.measurements["mmse"] <= 30
        assert profile.traits["cdr"] in ("0", "0.5", "1", "2")
    for text in re.findall(r'--fields "([^"]+)"', PAGE.read_text()):
        assert parse_counts(text)


# -- so many with and without


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ("melanoma: 13 yes, 8 no", {True: 13, False: 8}),
        ("cdr: 2 0, 9 0.5, 1 1", {"0": 2, "0.5": 9, "1": 1}),
        ("sex: 5 F, 10 M", {"F": 5, "M": 10}),
        ("J18.9: 4 true", {True: 4}),
    ],
)
@pytest.mark.parametrize("fields", [{}, FIELDS], ids=["alone", "with shares"])
def test_counts_are_exact_and_mixed(counts: str, asked: dict[Any, int], fields: dict[str, Any]) -> None:
    drawn = population(fields=fields, counts=parse_counts(counts))
    name, whole = counts.partition(":")[0], sum(asked.values())
    assert drawn.number(None) == whole
    values = [p.get(name) for p in drawn.draw(whole, 4)]
    assert Counter(values) == asked
    half = Counter(values[: whole // 2])
    assert all(abs(half[value] - number / 2) <= 1.5 for value, number in asked.items())  # evenly mixed
    with pytest.raises(InputError, match="add up to"):
        drawn.number(whole + 1)


@pytest.mark.parametrize("text", ["melanoma", "melanoma: yes", "melanoma: 3", "melanoma: -3 yes", ": 3 yes"])
def test_counts_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="expected `FIELD: N CLASS, N CLASS`"):
        parse_counts(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sex: 3 F, 4 F", "--fields: sex: F is named twice"),
        ("sex: 3 woman", "--fields: sex: expected one of F, M.*, got 'woman'"),
        ("sex: 0 F, 0 M", "--fields: sex: asks for no patients"),
        ("age: 2 yes", "--fields: age is a number"),
    ],
)
def test_counts_that_cannot_be_are_of_the_option_and_of_no_file(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        Population.load("adults", text)


def test_labels_lie_beside_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    drawn = population(counts={"melanoma": {"yes": 12, "no": 8}})
    made = engine.make(drawn, 20, 1, tmp_path / "c", modalities=("fake_notes", "fake_table"), workers=1)
    listed = sorted(made.folder.rglob("labels.csv"))
    assert listed
    truth = {p.patient_id: p for p in made.profiles()}
    for path in listed:
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert list(rows[0]) == ["patient_id", "file", "melanoma", "cdr", "mmse"]
        for row in rows:
            assert (path.parent / row["file"]).exists()
            assert row["melanoma"] == ("yes" if truth[row["patient_id"]].has("melanoma") else "no")
            assert row["cdr"] == ""  # declared, and not known of anybody
        assert f"{path.relative_to(made.folder).as_posix()}" in made.manifest["files"]
    assert Counter(p.get("melanoma") for p in Cohort.open(made.folder).profiles()) == {True: 12, False: 8}
    assert made.verify() == []


def test_a_cohort_without_declared_fields_labels_with_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    plain = Population(parse(CohortConfig, MINIMAL, "m"), "m")
    made = engine.make(plain, 3, 1, tmp_path / "c", modalities=("fake_notes",), workers=1)
    (listed,) = made.folder.rglob("labels.csv")
    rows = list(csv.DictReader(listed.read_text().splitlines()))
    known = {p.patient_id: p for p in made.profiles()}
    assert {row["patient_id"] for row in rows} == set(known)
    assert all(row["sex"] == known[row["patient_id"]].sex for row in rows)
    assert all((listed.parent / row["file"]).is_file() for row in rows)
    assert made.verify() == []


# -- any age


def test_children_have_children_s_bodies() -> None:
    years = {"mean": 6, "sd": 6, "low": 0, "high": 17}
    drawn = list(population(age=years).draw(400, 1))
    for low, high, height, rate in ((0, 1, (45, 90), (100, 180)), (5, 8, (95, 145), (65, 125))):
        some = [p for p in drawn if low <= float(p.age or 0) < high]
        assert len(some) > 5
        assert all(height[0] < float(p.height or 0) < height[1] for p in some)
        assert rate[0] < np.mean([p.measurements["heart_rate"] for p in some]) < rate[1]
    assert np.mean([p.has("R00.0") for p in drawn]) < 0.1  # fast for an adult is usual for them
