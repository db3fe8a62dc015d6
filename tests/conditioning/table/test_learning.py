"""From a training folder to a cohort: every table format, the budget and its ledger, profiles drawn from the file."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.dataset.profile_tables import read_patients
from polyclinic.conditioning.population import Population
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.config import DatasetConfig
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError, Refused

ROWS = 3000
COLUMNS = ["gender", "age", "condition:I48.91", "observation:8867-4"]
FIELDS = {
    "sex": {"column": "gender", "values": {"female": "F", "male": "M", "8532": "F", "8507": "M"}},
    "age": {"column": "age"},
    "I48.91": {"column": "condition:I48.91"},
    "heart_rate": {"column": "observation:8867-4"},
}
BINS = {"age": {"bins": [0, 50, 60, 70, 80, 110]}, "heart_rate": {"bins": [20, 60, 80, 100, 120, 250]}}
DATASET = {"name": "ward", "patient_id": "id", "split": None, "fields": FIELDS, "options": {"columns": BINS}}


def people(rows=ROWS, seed=0):
    """Patients whose fibrillation follows their age, and whose heart rate follows it."""
    rng = np.random.default_rng(seed)
    age = rng.integers(40, 90, rows)
    ill = rng.random(rows) < (age - 30) / 80
    rate = np.where(ill, 105, 70) + rng.integers(-9, 10, rows)
    women = rng.random(rows) < 0.6
    return pd.DataFrame(
        {"id": [f"p{k}" for k in range(rows)], "gender": np.where(women, "female", "male"), "age": age,
         "condition:I48.91": ill.astype(int), "observation:8867-4": rate}
    )  # fmt: skip


def as_csv(table, folder):
    table.to_csv(folder / "t.csv", index=False)
    return "t.csv"


def as_parquet(table, folder):
    table.to_parquet(folder / "t.parquet")
    return "t.parquet"


def as_fhir(table, folder):
    lines = {"Patient": [], "Condition": [], "Observation": []}
    for row in table.to_dict("records"):
        subject = {"reference": f"Patient/{row['id']}"}
        birth = f"{2020 - row['age']}-01-01"
        lines["Patient"].append({"id": row["id"], "gender": row["gender"], "birthDate": birth})
        if row["condition:I48.91"]:
            lines["Condition"].append({"subject": subject, "code": {"coding": [{"code": "I48.91"}]}})
        for day, value in (("2020-06-02", 1.0), ("2020-06-01", row["observation:8867-4"])):
            code = {"coding": [{"code": "8867-4"}]}
            lines["Observation"].append(
                {
                    "subject": subject,
                    "code": code,
                    "effectiveDateTime": day,
                    "valueQuantity": {"value": value},
                }
            )
    for name, own in lines.items():
        (folder / f"{name}.ndjson").write_text("".join(json.dumps(x) + "\n" for x in own))
    return "."


def omop(table):
    sex = table.gender.map({"female": 8532, "male": 8507})
    born = pd.DataFrame({"person_id": table.id, "gender_concept_id": sex, "year_of_birth": 2020 - table.age})
    ill = table[table["condition:I48.91"] == 1]
    conditions = pd.DataFrame(
        {"person_id": ill.id, "condition_concept_id": 313217, "condition_source_value": "I48.91",
         "condition_start_date": "2020-06-01"}
    )  # fmt: skip
    rates = pd.DataFrame(
        {"person_id": table.id, "measurement_concept_id": 3027018, "measurement_source_value": "8867-4",
         "measurement_date": "2020-06-01", "value_as_number": table["observation:8867-4"]}
    )  # fmt: skip
    return {"person": born, "condition_occurrence": conditions, "measurement": rates}


def as_omop_files(table, folder):
    for name, own in omop(table).items():
        own.to_parquet(folder / f"{name}.parquet") if name == "person" else own.to_csv(
            folder / f"{name}.csv", index=False
        )
    return "."


def as_omop_base(table, folder):
    with duckdb.connect(str(folder / "cdm.duckdb")) as base:
        for name, own in omop(table).items():
            base.register("own", own)
            base.execute(f"CREATE TABLE {name} AS SELECT * FROM own")
            base.unregister("own")
    return "cdm.duckdb"


FORMATS = [as_csv, as_parquet, as_fhir, as_omop_files, as_omop_base]


def folder_of(tmp_path, write=as_csv, table=None, **changes):
    data = tmp_path / "data"
    data.mkdir()
    name = write(people() if table is None else table, data)
    (data / "dataset.yaml").write_text(yaml.safe_dump({**DATASET, "table": name, **changes}))
    return data


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_tells_the_same_patients(tmp_path, write):
    table = people(60)
    config = DatasetConfig(patient_id="id", split=None, table=write(table, tmp_path))
    found, rows = read_patients(config, tmp_path, COLUMNS)
    found = found.sort_values("id", key=lambda ids: ids.str[1:].astype(int)).reset_index(drop=True)
    assert rows == 60
    assert found["id"].tolist() == table["id"].tolist()
    assert (
        found["gender"].map({"8532": "female", "8507": "male"}).fillna(found["gender"]).tolist()
        == table["gender"].tolist()
    )
    for name in COLUMNS[1:]:
        np.testing.assert_allclose(found[name].astype(float), table[name], atol=0.5)


def test_a_patient_counts_once_and_only_in_training(tmp_path):
    table = pd.DataFrame({"id": ["a", "a", "b", "c"], "split": ["train"] * 3 + ["test"], "x": [1, 2, 3, 4]})
    config = DatasetConfig(patient_id="id", table=as_csv(table, tmp_path))
    found, rows = read_patients(config, tmp_path, ["x"])
    assert (found["x"].tolist(), rows) == (["1", "3"], 3)


@pytest.mark.parametrize(
    ("files", "table", "message"),
    [
        ({}, ".", "expected Patient.ndjson"),
        ({"Patient.ndjson": "{"}, ".", "line 1: not JSON"),
        ({"Patient.ndjson": "3"}, ".", "expected a FHIR resource"),
        ({"Patient.ndjson": ""}, ".", "holds no patients"),
        ({"person.csv": "person_id"}, ".", "no condition_occurrence.parquet"),
        ({"x.duckdb": "no"}, "x.duckdb", "cannot be read as OMOP"),
        ({"t.csv": "a,b\n1,2\n"}, "t.csv", "no column 'patient_id'"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(tmp_path, files, table, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_patients(DatasetConfig(table=table, split=None), tmp_path, [])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A table learnt with a budget, and its ledger."""
    base = tmp_path_factory.mktemp("learnt")
    data, out, book = folder_of(base), base / "ward.safetensors", base / "ledger.jsonl"
    card = train("population", data, out, Privacy(3.0, 1e-5, book, 4.0))
    return card, out, book, data


def test_all_that_is_taken_is_paid_for_beforehand(learnt, tmp_path):
    card, _, book, data = learnt
    entries = Ledger(book).entries()
    assert len(entries) == 9
    assert {e.population for e in entries} == {"ward"}
    assert all(e.sample_rate == 1 and e.steps == 1 and e.patients == ROWS for e in entries)
    assert 2.9 < Ledger(book).spent("ward", 1e-5, "prv") <= 3.0
    assert 2.9 < card.epsilon <= 3.0
    assert "patient level" in card.privacy
    with pytest.raises(Refused, match="would bring the total"):
        train("population", data, tmp_path / "again.safetensors", Privacy(3.0, 1e-5, book, 4.0))
    assert len(Ledger(book).entries()) == 9
    assert not (tmp_path / "again.safetensors").exists()


def test_what_hangs_together_is_learnt(learnt):
    drawn = TableModel.load(learnt[1]).sample(5000, 0)
    real = people()
    assert drawn["I48.91"].mean() == pytest.approx(real["condition:I48.91"].mean(), abs=0.04)
    fast = drawn[drawn["I48.91"] == True]["heart_rate"].mean()  # noqa: E712, words and None share the column
    assert fast - drawn[drawn["I48.91"] == False]["heart_rate"].mean() > 20  # noqa: E712


def cohort_of(tmp_path, table, **changes):
    rules = {"I10": {"share": 0.4, "given": {"I48.91": 2}}}
    path = tmp_path / "mine.yaml"
    days = {"first": "2024-01-01", "last": "2024-12-31"}
    design = {"name": "mine", "index_date": days, "table": str(table), "conditions": rules, **changes}
    path.write_text(yaml.safe_dump(design))
    return Population.load(str(path))


def test_profiles_come_from_the_table(learnt, tmp_path):
    drawn = cohort_of(tmp_path, learnt[1])
    crowd, real = list(drawn.draw(1500, 1)), people()
    assert crowd[7] == drawn.patient(7, 1)
    assert np.mean([p.sex == "F" for p in crowd]) == pytest.approx(0.6, abs=0.06)
    assert np.mean([p.age for p in crowd]) == pytest.approx(real["age"].mean(), abs=3)
    assert np.mean([p.has("I10") for p in crowd]) == pytest.approx(0.4, abs=0.05)
    ill = [p for p in crowd if p.has("I48.91")]
    assert np.mean([p.measurements["heart_rate"] for p in ill]) > 90
    assert np.mean([p.has("I10") for p in ill]) > np.mean([p.has("I10") for p in crowd if p not in ill])


def test_criteria_reach_into_the_table(learnt, tmp_path):
    drawn = cohort_of(tmp_path, learnt[1], include={"I48.91": True, "age": [52, 57], "sex": "F", "I10": True})
    for profile in drawn.draw(100, 1):
        assert profile.has("I48.91")
        assert profile.has("I10")
        assert profile.sex == "F"
        assert 52 <= (profile.age or 0) <= 57
    with pytest.raises(InputError, match="the learnt table draws it"):
        cohort_of(tmp_path, learnt[1], conditions={"I48.91": 0.2})


def test_a_cohort_keeps_to_the_file_it_was_begun_with(learnt, tmp_path):
    copy = tmp_path / "t.safetensors"
    copy.write_bytes(learnt[1].read_bytes())
    config = cohort_of(tmp_path, copy).config
    assert config.table is not None
    assert len(config.table.sha256) == 64
    Population(config)
    train("population", learnt[3], copy, Privacy(), overwrite=True)
    with pytest.raises(InputError, match="is not the file that the cohort was begun with"):
        Population(config)
    with pytest.raises(InputError, match="no such file"):
        cohort_of(tmp_path, tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (people(100), {}, "100 patients are too few for 4 columns"),
        (people(200), {"fields": {}, "options": {}}, "expected two columns or more"),
        (people(200), {"options": {"modality": "omics"}}, "expected 'population'"),
        (people(200), {"options": {"colums": {}}}, "unknown key 'colums'.*'columns'"),
        (people(200), {"fields": {"hight": {"column": "age"}}}, "unknown field or code 'hight'"),
    ],
)
def test_a_folder_that_will_not_do_is_refused_and_costs_nothing(tmp_path: Path, table, changes, message):
    data = folder_of(tmp_path, table=table, **changes)
    with pytest.raises(InputError, match=message):
        train("population", data, tmp_path / "o.safetensors", Privacy(1.0, 1e-6, tmp_path / "l.jsonl"))
    assert not (tmp_path / "l.jsonl").exists()


def test_population_has_no_weights_to_start_from(tmp_path):
    data = folder_of(tmp_path)
    with pytest.raises(InputError, match="at one go"):
        train("population", data, tmp_path / "o.safetensors", Privacy(), resume=True)
