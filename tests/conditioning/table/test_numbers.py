"""Numbers of learnt tables: shapes within bins, constraints, coupled ranks, and tables of few patients."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import norm

from polyclinic.app.engines.job import named_from
from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.population import Population
from polyclinic.conditioning.table.association import features
from polyclinic.conditioning.table.association import measure as associations
from polyclinic.conditioning.table.constraints import Constraint, enforce, possible_levels
from polyclinic.conditioning.table.coupling import correlation_of
from polyclinic.conditioning.table.domain import Column, columns_of
from polyclinic.conditioning.table.mechanism import learn, mechanisms, shares
from polyclinic.conditioning.table.shape import curves, denoised, nearest_shares
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.config import FieldMap
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import DataWarning

WIDE = (40.0, 100.0, 120.0, 140.0, 300.0)


def number(name, edges, **changes):
    labels = tuple(f"{a:g} to {b:g}" for a, b in pairwise(edges))
    return Column(name, "number", labels, tuple(edges), missing=False, **changes)


def test_a_wide_bin_is_filled_as_the_others_suggest():
    truth = norm(124, 18)
    known = np.diff(truth.cdf(WIDE))
    column = number("x", WIDE, curves=curves(WIDE, known))
    rng = np.random.default_rng(0)
    codes = rng.choice(4, 40_000, p=known / known.sum())
    drawn = column.decode(codes, rng.random(40_000)).astype(float)
    for q in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert np.quantile(drawn, q) == pytest.approx(truth.ppf(q), abs=5)
    assert np.mean(drawn > 200) < 0.002
    even = number("x", WIDE).decode(codes, rng.random(40_000)).astype(float)
    assert np.mean(even > 200) > 0.1
    assert column.weights([200, 300], "t")[3] < 0.01
    inside = column.decode(np.full(500, 3), rng.random(500), (150, 160)).astype(float)
    assert inside.min() >= 150
    assert inside.max() <= 160


def test_a_closed_range_holds_its_end():
    spo2 = columns_of({"oxygen_saturation": FieldMap(column="s"), "sex": FieldMap(column="g")}, {}, "t")[0]
    assert spo2.closed
    drawn = spo2.decode(np.full(4000, len(spo2.levels) - 1), np.random.default_rng(0).random(4000))
    assert set(drawn) == {97.0, 98.0, 99.0, 100.0}


def test_noise_on_bins_is_reduced():
    edges = np.linspace(40, 240, 21)
    truth = np.diff(norm(124, 20).cdf(edges))
    rng, before, after = np.random.default_rng(0), [], []
    for _ in range(20):
        noisy = truth + rng.normal(0, 0.01, 20)
        before.append(abs(nearest_shares(noisy) - truth).sum())
        after.append(abs(denoised(edges.tolist(), noisy, 0.01**2) - truth).sum())
    assert np.mean(after) < 0.6 * np.mean(before)
    spikes = np.where(np.arange(20) % 5 == 0, 0.25, 0.0)
    np.testing.assert_allclose(denoised(edges.tolist(), spikes, 1e-8), spikes, atol=1e-3)


def pressures(rows, correlation, seed=0):
    """Systolic and diastolic pressure, in codes of wide bins, and as they are."""
    rng = np.random.default_rng(seed)
    z = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], rows)
    values = np.column_stack([124 + 18 * z[:, 0], 70 + 12 * z[:, 1]])
    edges = (WIDE, (20.0, 60.0, 80.0, 200.0))
    return np.column_stack([np.searchsorted(e, v, "right") - 1 for e, v in zip(edges, values.T, strict=True)])


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.45, 0.8])
def test_a_correlation_is_read_off_wide_bins(correlation):
    codes = pressures(60_000, correlation)
    joint = np.zeros((4, 3))
    np.add.at(joint, tuple(codes.T), 1.0)
    assert correlation_of(joint) == pytest.approx(correlation, abs=0.08)


def test_constraints_are_parsed_or_refused():
    columns = [number("a", (0, 10, 20)), number("b", (0, 10, 20)), Column("w", "words", ("x", "y"))]
    assert str(Constraint.parse("a >= b", columns, "t")) == "a >= b"
    assert Constraint.parse("a > 3.5", columns, "t").right == 3.5
    for text, message in (
        ("a b", "expected `COLUMN >"),
        ("a > w", "w is no column of numbers; there are: a, b"),
    ):
        with pytest.raises(InputError, match=message):
            Constraint.parse(text, columns, "t")
    with pytest.raises(InputError, match="no values of the bins obey it"):
        possible_levels([Constraint.parse("a > 30", columns, "t")], columns, "t")


def test_bins_that_cannot_be_together_are_known():
    columns = [number("a", (0, 10, 20)), number("b", (0, 10, 20))]
    ((places, allowed),) = possible_levels([Constraint.parse("b < a", columns, "t")], columns, "t").items()
    assert places == (0, 1)
    assert allowed.tolist() == [[True, False], [True, True]]


def test_what_cannot_be_drawn_is_moved_or_refused():
    columns = {c.name: c for c in (number("a", (0, 10, 20)), number("b", (0, 10, 20)))}
    more, less = (Constraint.parse(text, list(columns.values()), "t") for text in ("a > b", "a < b"))
    values = {"a": np.array([3.0, 20.0, None], dtype=object), "b": np.array([7.0, 20.0, 4.0], dtype=object)}
    enforce([more], values, columns)
    assert values["a"].tolist() == [8.0, 20.0, None]
    assert values["b"].tolist() == [7.0, 19.0, 4.0]
    with pytest.raises(InputError, match="a > b and a < b together"):
        enforce([more, less], values, columns)


def test_one_patient_more_moves_associations_by_no_more_than_is_paid_for():
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, size, 400) for size in (6, 2, 4)])
    alone = [np.bincount(column) / 400 for column in codes.T]
    bases = [features(share, bins) for share, bins in zip(alone, (6, 0, 0), strict=True)]
    more = np.concatenate([codes, [[5, 1, 3]]])
    noise = 7.0
    exact = [associations(table, bases, alone, 0.0, rng) for table in (codes, more)]
    paid = associations(codes, bases, alone, noise, rng)
    spread = np.sqrt(paid[0, 1].variance - 1 / 400) * 400
    moved = sum(
        float(((exact[1][pair].shares * 401 - exact[0][pair].shares * 400) ** 2).sum()) for pair in exact[0]
    )
    assert moved <= (spread / noise) ** 2 * (1 + 1e-9)


def test_few_patients_keep_their_correlations():
    rng = np.random.default_rng(1)
    z = rng.multivariate_normal(np.zeros(6), 0.5 + 0.5 * np.eye(6), 3000)
    codes, edges = (
        np.clip(np.floor(z * 2.5 + 10), 0, 19).astype(int),
        dict.fromkeys(range(6), np.arange(21.0)),
    )
    noise = [6 / share**0.5 for share in shares(0)]
    assert len(noise) == len(mechanisms(0)) == 2
    learnt = learn(codes, [20] * 6, noise, np.random.default_rng(0), edges)
    columns = [number(f"c{k}", tuple(range(21))) for k in range(6)]
    drawn = TableModel(columns, learnt).sample(20_000, 0).astype(float).corr().to_numpy()
    assert np.mean([drawn[i, j] for i, j in combinations(range(6), 2)]) == pytest.approx(0.48, abs=0.12)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Public pressures in wide bins, and a declared constraint."""
    folder = tmp_path_factory.mktemp("pressures")
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 6000)
    systolic = (124 + 18 * z[:, 0]).round()
    diastolic = np.minimum((80 + 14 * z[:, 1]).round(), systolic - 5)
    table = pd.DataFrame(
        {"id": range(6000), "s": systolic, "d": diastolic, "h": rng.normal(170, 9, 6000).round(), "extra": 1}
    )
    table.to_csv(folder / "t.csv", index=False)
    columns = {"systolic": {"bins": list(WIDE), "missing": False},
               "diastolic": {"bins": [20, 60, 80, 100, 200], "missing": False},
               "height": {"bins": [40, 160, 170, 180, 230], "missing": False}}  # fmt: skip
    config = {"patient_id": "id", "split": None, "table": "t.csv",
              "fields": {"systolic": {"column": "s"}, "diastolic": {"column": "d"}, "height": {"column": "h"}},
              "options": {"columns": columns, "constraints": ["height > 150"]}}  # fmt: skip
    (folder / "dataset.yaml").write_text(yaml.safe_dump(config))
    out = folder / "t.safetensors"
    with pytest.warns(DataWarning, match="columns that are not learnt.*: extra$"):
        train("population", folder, out, Privacy())
    return TableModel.load(out), folder


def test_drawn_rows_obey_and_go_together(learnt):
    drawn = learnt[0].sample(10_000, 1).astype(float)
    assert (drawn["systolic"] > drawn["diastolic"]).all()
    assert (drawn["height"] > 150).all()
    assert drawn["systolic"].corr(drawn["diastolic"]) == pytest.approx(0.6, abs=0.1)
    assert drawn["systolic"].quantile(0.999) < 210
    pd.testing.assert_frame_equal(learnt[0].sample(7, 1).astype(float), drawn.head(7))
    close = learnt[0].sample(300, 2, {"systolic": [80, 99], "diastolic": [81, 99]}).astype(float)
    assert (close["systolic"] > close["diastolic"]).all()


def test_profiles_take_body_size_and_pressures_from_the_table(learnt, tmp_path: Path):
    days = {"first": "2024-01-01", "last": "2024-12-31"}
    config = {"name": "mine", "index_date": days, "age": {"mean": 60, "sd": 12}}
    config["table"] = str(learnt[1] / "t.safetensors")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    population = Population.load(str(tmp_path / "mine.yaml"))
    drawn = list(population.draw(400, 1))
    pressures = np.array([[p.measurements["systolic"], p.measurements["diastolic"]] for p in drawn])
    assert (pressures[:, 0] > pressures[:, 1]).all()
    assert pressures[:, 1].mean() == pytest.approx(80, abs=3)
    assert min(p.height or 0 for p in drawn) > 150
    assert drawn[3] == population.patient(3, 1)
    named = named_from(population.config, tmp_path / "cohort").table
    assert named is not None
    assert not Path(named.file).is_absolute()
    assert (tmp_path / "cohort" / named.file).resolve() == (learnt[1] / "t.safetensors").resolve()
    assert len(named.sha256) == 64


def test_a_constraint_on_no_column_is_refused(learnt, tmp_path: Path):
    config = yaml.safe_load((learnt[1] / "dataset.yaml").read_text())
    config["options"]["constraints"] = ["height > 150", "size > 3"]
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(config))
    pd.read_csv(learnt[1] / "t.csv").drop(columns="extra").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="size is no column of numbers; there are: "):
        train("population", tmp_path, tmp_path / "o.safetensors", Privacy())
