"""Domains learnt within the budget: what they cost, what they leave out, and how near they come to public ones."""

import math

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.table.domain import Charged, ColumnConfig
from polyclinic.conditioning.table.private_domain import DyadicTree, select_partitions
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.dp.budget import PrivacyPlan, compose
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError, Refused

COUNTS = {"common": 900, "usual": 300, "seldom": 60, "once": 1}


def tree(values, within=(0.0, 1000.0), step=1.0, noise=0.0, seed=0):
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    return DyadicTree(distinct, counts, within, step, noise, np.random.default_rng(seed))


# -- words


def test_without_noise_all_words_come_the_most_common_first():
    rng = np.random.default_rng(0)
    assert select_partitions(COUNTS, 10, 0.0, 0.0, rng) == ["common", "usual", "seldom", "once"]
    assert select_partitions(COUNTS, 2, 0.0, 0.0, rng) == ["common", "usual"]
    assert select_partitions({"other": 50, "a": 2}, 10, 0.0, 0.0, rng) == ["a"]


def test_a_word_of_one_patient_passes_with_the_chance_that_was_charged():
    rng = np.random.default_rng(0)
    for failure in (0.2, 0.02):
        passed = np.mean(
            [
                "once" in select_partitions({"once": 1, "common": 500}, 10, 5.0, failure, rng)
                for _ in range(4000)
            ]
        )
        assert passed == pytest.approx(failure, abs=4 * math.sqrt(failure / 4000))


def test_words_of_many_are_found_and_rare_ones_are_not():
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert select_partitions(COUNTS, 10, 5.0, 1e-7, rng) == ["common", "usual", "seldom"]
        assert select_partitions(COUNTS, 10, 30.0, 1e-7, rng) == ["common", "usual"]


# -- bins


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-5, 105), min_size=1, max_size=60),
    st.integers(2, 30),
    st.sampled_from([0.0, 1.0, 8.0]),
)
def test_bins_are_a_domain_whatever_the_numbers(values, most, noise):
    """Ascending, inside the public range, on the grid, no more than asked; ColumnConfig takes them."""
    edges = tree(values, (0.0, 100.0), 0.5, noise).bins(most)
    assert len(edges) <= 2 * most  # between two that hold somebody there may be one that holds nobody
    assert edges == sorted(set(edges))
    assert edges[0] >= 0
    assert edges[-1] <= 100
    assert all(edge in (100, round(2 * edge) / 2) for edge in edges)
    ColumnConfig(bins=edges)
    if noise == 0:
        inside = np.clip(values, 0, 100)
        assert edges[0] <= inside.min() + 0.5
        assert inside.max() - 0.5 <= edges[-1]


def test_without_noise_bins_hold_about_alike_and_small_counts_get_bins_of_their_own():
    rng = np.random.default_rng(0)
    edges = tree(rng.integers(200, 400, 5000)).bins(10)
    held = np.histogram(rng.integers(200, 400, 5000), edges)[0]
    assert (edges[0], edges[-1]) == (200, 400)
    assert held.max() < 3 * held.min()  # a half, and a half of a half
    skewed = np.repeat([0, 1, 2, 3, 40], [700, 200, 60, 30, 10])
    assert tree(skewed).bins(6)[:5] == [0, 1, 2, 3, 4]


def test_noise_keeps_the_range_near_and_leaves_single_patients_out():
    values = [*np.random.default_rng(1).normal(500, 20, 20_000).round(), 3, 990]
    for seed in range(20):
        edges = tree(values, noise=10.0, seed=seed).bins(10)
        assert 370 < edges[0] < 490
        assert 510 < edges[-1] < 620
        assert edges[5] == pytest.approx(500, abs=6)


def test_a_range_far_wider_than_the_numbers_does_not_stretch_their_bins():
    """Noise in one of many empty intervals would put the last edge at 5000; seen in 1 draw of 2,000."""
    stays = np.round(np.random.default_rng(0).gamma(2, 3, 3000), 1)
    ends = [tree(stays, (0.0, 5000.0), 0.1, 8.0, seed).bins(10)[-1] for seed in range(300)]
    assert sum(end > 100 for end in ends) <= 1


def test_a_patient_moves_the_tree_by_no_more_than_is_paid_for():
    before, after = tree([1, 2, 700]), tree([1, 2, 2, 700])
    moved = sum(
        (after.exact(depth, place) - before.exact(depth, place)) ** 2
        for depth in range(1, before.depth + 1)
        for place in range(2**depth)
    )
    assert moved == before.depth
    assert tree([1], noise=7.0).deviation == pytest.approx(7 * math.sqrt(before.depth))


def test_noise_of_an_interval_is_drawn_once_and_as_wide_as_was_paid_for():
    def many(seed=0):
        counts = np.array([100_000])
        return DyadicTree(np.array([5.0]), counts, (0.0, 1000.0), 1.0, 10.0, np.random.default_rng(seed))

    one = many()
    assert one.measurement(3, 0) == one.measurement(3, 0)
    drawn = [many(seed).measurement(1, 0) - 100_000 for seed in range(400)]
    assert np.std(drawn) == pytest.approx(one.deviation, rel=0.15)


# -- what is booked


def test_a_failure_comes_out_of_delta():
    plan = PrivacyPlan.once(1000, 3.0, 1e-5, "words", failure=4e-6)
    assert compose([plan], 1e-5, "prv") == pytest.approx(
        compose([PrivacyPlan.once(1000, 3.0, 6e-6, "")], 6e-6, "prv")
    )
    assert compose([plan, plan, plan], 1e-5, "prv") == math.inf
    assert compose([plan, plan], 1e-5, "rdp") < math.inf


def people(rows=3000, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(40, 90, rows)
    ward = np.where(age > 65, "geriatrics", np.where(rng.random(rows) < 0.7, "surgery", "medicine"))
    ward = ward.astype(object)
    ward[0] = "the ward of Mr Unique"
    stay = np.round(rng.gamma(2, 3, rows) + (age > 65) * 4, 1)
    table = pd.DataFrame({"id": [f"p{k}" for k in range(rows)], "age": age, "ward": ward, "stay": stay})
    table.loc[1:40, "stay"] = None
    return table


COLUMNS = {
    "age": {"charged": {"most": 8}},
    "ward": {"charged": {}, "missing": False},
    "stay": {"charged": {"most": 10, "within": [0, 5000]}, "decimals": 1},
}


def folder_of(tmp_path, columns=COLUMNS, table=None):
    data = tmp_path / "data"
    data.mkdir()
    (people() if table is None else table).to_csv(data / "t.csv", index=False)
    config = {
        "name": "ward",
        "patient_id": "id",
        "split": None,
        "table": "t.csv",
        "fields": {"age": {"column": "age"}},
        "options": {"columns": columns},
    }
    (data / "dataset.yaml").write_text(yaml.safe_dump(config))
    return data


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    base = tmp_path_factory.mktemp("charged")
    out, book = base / "ward.safetensors", base / "ledger.jsonl"
    data = folder_of(base)
    card = train("population", data, out, Privacy(3.0, 1e-5, book, 4.0))
    return card, TableModel.load(out), book, data


def test_domains_are_booked_with_the_rest_and_all_keep_the_budget(learnt, tmp_path):
    card, _, book, data = learnt
    entries = Ledger(book).entries()
    assert len(entries) == 10
    assert entries[0].purpose == "population: domains of age, stay, ward"
    assert [entry.failure for entry in entries] == [pytest.approx(1e-6), *[0.0] * 9]
    assert 2.9 < Ledger(book).spent("ward", 1e-5, "prv") <= 3.0
    assert 2.9 < card.epsilon <= 3.0
    with pytest.raises(Refused, match="would bring the total"):
        train("population", data, tmp_path / "again.safetensors", Privacy(3.0, 1e-5, book, 4.0))


def test_what_is_learnt_holds_in_domains_nobody_wrote_down(learnt):
    model = learnt[1]
    by_name = {column.name: column for column in model.columns}
    assert set(by_name["ward"].levels) == {"geriatrics", "surgery", "medicine", "other"}
    assert 30 < by_name["age"].edges[0] < 50
    assert 85 < by_name["age"].edges[-1] <= 110
    assert by_name["stay"].edges[-1] < 100
    drawn = model.sample(4000, 1)
    assert "the ward of Mr Unique" not in set(drawn["ward"])
    old = drawn["ward"] == "geriatrics"
    assert drawn["age"][old].astype(float).median() - drawn["age"][~old].astype(float).median() > 15


def test_without_a_budget_domains_are_those_of_the_data(tmp_path):
    out = tmp_path / "public.safetensors"
    train("population", folder_of(tmp_path), out, Privacy())
    by_name = {column.name: column for column in TableModel.load(out).columns}
    assert "the ward of Mr Unique" in by_name["ward"].levels
    assert by_name["age"].edges[0] == 40


@pytest.mark.parametrize(
    ("columns", "change", "message"),
    [
        ({**COLUMNS, "ward": {}}, {}, "columns.ward: its values are not said.*charged"),
        ({**COLUMNS, "ward": {"charged": {}, "levels": ["a"]}}, {}, "give one of levels"),
        ({**COLUMNS, "stay": {"charged": {"within": [5, 5]}}}, {}, "low below high"),
        ({**COLUMNS, "age": {"charged": {"within": [0, 500]}}}, {}, "must lie in 0 to 110"),
        (COLUMNS, {"stay": "long"}, "stay must be a number, got 'long'"),
        (COLUMNS, {"ward": None}, "ward has an empty cell"),
    ],
)
def test_what_will_not_do_is_refused_and_costs_nothing(tmp_path, columns, change, message):
    table = people().astype(object).assign(**change)
    data = folder_of(tmp_path, columns, table)
    with pytest.raises(InputError, match=message):
        train("population", data, tmp_path / "o.safetensors", Privacy(3.0, 1e-5, tmp_path / "l.jsonl"))
    assert not (tmp_path / "l.jsonl").exists()


def test_limits_of_the_wish():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        Charged(most=1)
