"""GraphicalModel tables: exact inference, honest noise, draws under evidence, files that come back."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyclinic.conditioning.table.cells import encode
from polyclinic.conditioning.table.domain import Column, ColumnConfig, columns_of
from polyclinic.conditioning.table.estimation import Measurement, fit
from polyclinic.conditioning.table.junction_tree import JunctionTree, marginal
from polyclinic.conditioning.table.mechanism import _PrivateTable, learn, mechanisms, shares
from polyclinic.conditioning.table.table_model import POPULATION, TableModel
from polyclinic.core.config import FieldMap
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import remarks
from polyclinic.core.training.weights import Card

SIZES = (2, 3, 2, 4, 3)
GROUPS = ((0, 1), (1, 2), (2, 3), (0, 3), (4,))  # a cycle, and a column of its own


def random_factors(seed):
    rng = np.random.default_rng(seed)
    return {group: rng.normal(size=[SIZES[c] for c in group]) for group in GROUPS}


def brute(factors):
    """The whole joint distribution, cell by cell, and its normaliser."""
    joint = np.zeros(SIZES)
    for cell in product(*map(range, SIZES)):
        joint[cell] = np.exp(sum(factor[tuple(cell[c] for c in group)] for group, factor in factors.items()))
    return joint / joint.sum(), np.log(joint.sum())


def chain(rows, seed=0):
    """A table in which each column follows the one before."""
    rng = np.random.default_rng(seed)
    codes = np.empty((rows, 4), dtype=np.int64)
    codes[:, 0] = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    for k in range(1, 4):
        codes[:, k] = np.where(rng.random(rows) < 0.8, codes[:, k - 1], rng.integers(0, 3, rows))
    return codes


def words(count, size=3):
    return [Column(f"c{k}", "words", tuple("abcdefgh"[:size]), missing=False) for k in range(count)]


@pytest.fixture(scope="module")
def model():
    return TableModel(
        words(4), learn(chain(20_000), [3] * 4, [0.0] * len(mechanisms()), np.random.default_rng(0))
    )


# -- the junction tree


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_junction_tree_is_exact(seed):
    factors = random_factors(seed)
    joint, log_z = brute(factors)
    tree = JunctionTree(SIZES, GROUPS)
    found, conditionals = tree.solve(tree.potentials(factors))
    assert found == pytest.approx(log_z)
    for clique, table in zip(tree.cliques, tree.marginals(conditionals), strict=True):
        np.testing.assert_allclose(table, marginal(joint, tuple(range(5)), clique.columns), atol=1e-12)
    for pair, table in tree.two_way(tree.potentials(factors)).items():
        np.testing.assert_allclose(table, marginal(joint, tuple(range(5)), pair), atol=1e-12)


def test_evidence_is_exact():
    factors, tree = random_factors(1), JunctionTree(SIZES, GROUPS)
    joint, log_z = brute(factors)
    weight = {1: np.array([0.0, 1.0, 0.5]), 4: np.array([1.0, 0.0, 0.0])}
    wanted = joint * weight[1][None, :, None, None, None] * weight[4]
    found, conditionals = tree.solve(tree.with_evidence(tree.potentials(factors), weight))
    assert found - log_z == pytest.approx(np.log(wanted.sum()))
    alone = tree.one_way(tree.marginals(conditionals))
    for column in range(5):
        np.testing.assert_allclose(
            alone[column], marginal(wanted / wanted.sum(), tuple(range(5)), (column,)), atol=1e-12
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_cliques_of_a_column_are_connected(edges):
    tree = JunctionTree([2] * 8, edges)
    for pair in edges:
        assert tree.clique_of(pair) >= 0
    for place, clique in enumerate(tree.cliques):
        assert clique.parent < place
        earlier = {c for other in tree.cliques[:place] for c in other.columns}
        assert set(clique.residual).isdisjoint(earlier)
        if clique.separator:
            assert set(clique.separator) <= set(tree.cliques[clique.parent].columns)


def test_a_group_without_a_clique_is_an_error():
    with pytest.raises(ValueError, match="no clique holds"):
        JunctionTree(SIZES, GROUPS).clique_of((0, 4))


def test_a_fit_gives_back_consistent_marginals():
    joint, _ = brute(random_factors(2))
    tree = JunctionTree(SIZES, GROUPS)
    measured = {g: Measurement(marginal(joint, tuple(range(5)), g), 1e-12) for g in GROUPS}
    found = tree.marginals(tree.solve(tree.potentials(fit(tree, measured, {}, 300)))[1])
    for group in GROUPS:
        place = tree.clique_of(group)
        table = marginal(found[place], tree.cliques[place].columns, group)
        np.testing.assert_allclose(table, measured[group].shares, atol=1e-3)


# -- what is taken from patients


def test_shares_of_the_budget_add_up_to_all_of_it():
    assert sum(shares()) == pytest.approx(1)
    assert len(shares()) == len(mechanisms()) == len(set(mechanisms()))


def test_one_patient_more_moves_a_release_by_no_more_than_it_pays_for():
    before, after = chain(500), np.concatenate([chain(500), [[2, 0, 1, 0]]])
    pairs = [(0, 1), (1, 3), (0, 2)]
    neighbours = [_PrivateTable(codes, [3] * 4, np.random.default_rng(0)) for codes in (before, after)]
    for private in neighbours:
        private.measure(pairs, 7.0)
    cost = 0.0
    for pair in pairs:
        step = neighbours[1].counts(pair) - neighbours[0].counts(pair)
        noise = np.sqrt(neighbours[0].measured[pair].variance) * len(before)
        cost += (step**2).sum() / noise**2
    assert cost <= 1 / 7.0**2 * (1 + 1e-9)
    even = {pair: np.full((3, 3), 500 / 9 / 500) for pair in pairs}
    exact = [
        {p: abs(s.counts(p) - 500 * m).sum() / 2 for p, m in even.items()} for s in neighbours
    ]  # patients are known, so the model's counts stay
    moved = np.array([exact[1][p] - exact[0][p] for p in pairs])
    assert np.linalg.norm(moved) <= np.sqrt(len(pairs)) / 2 + 1e-9


def test_the_noise_is_what_was_paid_for():
    codes, errors = chain(1000), []
    for seed in range(60):
        private = _PrivateTable(codes, [3] * 4, np.random.default_rng(seed))
        private.measure([(0, 1), (2,)], 20.0)
        for group, measurement in private.measured.items():
            errors += (
                ((measurement.shares - private.counts(group) / 1000) / np.sqrt(measurement.variance))
                .ravel()
                .tolist()
            )
    assert 0.9 < np.std(errors) < 1.1
    private = _PrivateTable(codes, [3] * 4, np.random.default_rng(0))
    model = {(0, 1): np.full((3, 3), 1 / 9)}
    found = [private.errors(model, 50.0)[0, 1] * 1000 for _ in range(400)]
    assert 0.85 < np.std(found) / 25.0 < 1.15  # half a count of sensitivity


def test_without_noise_every_pair_is_learnt_and_with_much_none(model):
    codes = chain(20_000)
    uniforms = np.random.default_rng(3).random((20_000, 4))
    exact = model.given().codes(uniforms)[0]
    drowned = learn(codes, [3] * 4, [1e6] * len(mechanisms()), np.random.default_rng(0))
    noisy = TableModel(words(4), drowned).given().codes(uniforms)[0]
    for pair in ((0, 1), (0, 3), (1, 2)):
        assert np.mean(exact[:, pair[0]] == exact[:, pair[1]]) == pytest.approx(
            np.mean(codes[:, pair[0]] == codes[:, pair[1]]), abs=0.02
        )
    assert abs(np.mean(noisy[:, 0] == noisy[:, 1]) - np.mean(codes[:, 0] == codes[:, 1])) > 0.1


def test_rare_levels_are_merged_and_come_back():
    rng = np.random.default_rng(0)
    first = np.concatenate([np.zeros(9000), np.ones(9000), rng.integers(2, 8, 60)]).astype(np.int64)
    codes = np.column_stack([first, first % 2])
    learnt = learn(codes, [8, 2], [5.0] * len(mechanisms()), np.random.default_rng(1))
    assert learnt.merges[0].size == 3
    np.testing.assert_allclose(np.bincount(learnt.merges[0].group, learnt.merges[0].share), 1)
    drawn = TableModel(words(2, 8)[:1] + words(2, 2)[1:], learnt).given().codes(rng.random((50_000, 2)))[0]
    assert 0 < np.mean(drawn[:, 0] > 1) < 0.02


# -- draws


def test_a_row_does_not_depend_on_the_others(model):
    pd.testing.assert_frame_equal(model.sample(5, 1), model.sample(500, 1).head(5))
    assert not model.sample(50, 1).equals(model.sample(50, 2))


def test_draws_under_evidence_are_those_that_rejection_keeps(model):
    free = model.sample(60_000, 1)
    kept = free[(free.c0 == "a") & free.c3.isin(["b", "c"])]
    drawn = model.sample(20_000, 2, {"c0": "a", "c3": ["b", "c"]})
    assert set(drawn.c0) == {"a"}
    assert set(drawn.c3) == {"b", "c"}
    for column in ("c1", "c2", "c3"):
        for level in "abc":
            assert (drawn[column] == level).mean() == pytest.approx((kept[column] == level).mean(), abs=0.02)
    evidence = {"c0": np.array([1.0, 0, 0]), "c3": np.array([0, 1.0, 1.0])}
    assert model.given(evidence).probability == pytest.approx(len(kept) / len(free), abs=0.01)


def test_impossible_evidence_is_refused(model):
    with pytest.raises(InputError, match="no column 'c9'"):
        model.sample(1, 0, {"c9": "a"})
    with pytest.raises(InputError, match="c0 must be one of a, b, c"):
        model.sample(1, 0, {"c0": "z"})
    with pytest.raises(InputError, match="no patient of the learnt table fits: c0"):
        model.given({"c0": np.zeros(3)})


def test_a_file_gives_the_same_draws(model, tmp_path: Path):
    path = tmp_path / "t.safetensors"
    card = Card(
        name="t", modality=POPULATION, kind="table", data=[], privacy="public", steps=4, columns=[], model={}
    )
    model.save(card).save(path)
    pd.testing.assert_frame_equal(TableModel.load(path).sample(200, 3), model.sample(200, 3))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged weight file"):
        TableModel.load(path)
    model.save(card.model_copy(update={"modality": "omics"})).save(path)
    with pytest.raises(InputError, match="holds weights of omics"):
        TableModel.load(path)


# -- levels


FIELDS = {
    "sex": FieldMap(column="g", values={"m": "M", "f": "F", "?": None}),
    "age": FieldMap(column="years"),
}
EXTRA = {
    "age": ColumnConfig(bins=[0, 40, 80, 100]),
    "race": ColumnConfig(levels=["x", "other"]),
    "code": ColumnConfig(patterns={"heart": "^4", "lung": "^5"}, missing=False),
    "dose": ColumnConfig(bins=[0, 0.5, 1], decimals=2),
}


def table(**changes):
    cells = {"g": ["m", "f", "?"], "years": ["12", "80", None], "race": ["x", "q", None],
             "code": ["41", "50", "7"], "dose": ["-3", "0.5", "1"]}  # fmt: skip
    return pd.DataFrame({**cells, **changes})


def test_numbers_outside_their_bins_are_counted():
    with remarks(lambda text: None) as found:
        encode(
            table(dose=["-3", "0.5", "1e300"]), columns_of(FIELDS, EXTRA, "t"), FIELDS, EXTRA, "t", tell=True
        )
    assert list(found) == ["t: dose: 2 values outside 0 to 1 count as the nearest that is inside"]


def test_cells_become_levels():
    columns = columns_of(FIELDS, EXTRA, "t")
    codes = encode(table(), columns, FIELDS, EXTRA, "t")
    assert [c.name for c in columns] == ["sex", "age", "race", "code", "dose"]
    assert codes.T.tolist() == [[1, 0, 2], [0, 2, 3], [0, 1, 2], [0, 1, 2], [0, 1, 1]]
    sex, age, _, code, dose = columns
    assert sex.decode(codes[:, 0], np.zeros(3)).tolist() == ["M", "F", None]
    assert age.decode(codes[:, 1], np.array([0.0, 0.999, 0.5])).tolist() == [0.0, 99.9, None]
    assert age.decode(np.array([1]), np.array([0.5]), (70, 75)).tolist() == [72.5]
    assert code.levels == ("heart", "lung", "other")
    assert 0.5 <= dose.decode(np.array([1]), np.array([0.0]))[0] < 1
    np.testing.assert_allclose(age.weights([60, 90], "t"), [0, 0.5, 0.5, 0])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"g": ["x", "m", "f"]}, "t: g is 'x', expected one of: m, f"),
        ({"years": ["old", "1", "2"]}, "t: years must be a number, got 'old'"),
        ({"code": ["41", None, "5"]}, "code has an empty cell"),
        ({"dose": ["nan", "1", "1"]}, "dose must be a number"),
    ],
)
def test_cells_that_cannot_be_are_refused(cells, message):
    with pytest.raises(InputError, match=message):
        encode(table(**cells), columns_of(FIELDS, EXTRA, "t"), FIELDS, EXTRA, "t")


def test_all_that_is_wrong_in_a_table_is_said_at_once():
    cells = table(g=["x", "m", "f"], years=["old", "1", "2"], code=["41", None, "5"])
    with pytest.raises(
        InputError, match=r"3 errors: .*g is 'x'.*years must be a number.*code has an empty cell"
    ):
        encode(
            cells.drop(columns="dose").assign(dose="1"), columns_of(FIELDS, EXTRA, "t"), FIELDS, EXTRA, "t"
        )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"race": ColumnConfig()}, "its values are not said; give levels, bins or patterns.*charged"),
        ({"height": ColumnConfig(bins=[100, 150, 200])}, "say its column under fields"),
        ({"sex": ColumnConfig(levels=["M"])}, "levels are the vocabulary's"),
        ({"age": ColumnConfig(bins=[0, 200])}, "must lie in 0 to 110"),
    ],
)
def test_columns_that_cannot_be_are_refused(extra, message):
    with pytest.raises(InputError, match=message):
        columns_of(FIELDS, extra, "t")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"levels": ["a"], "bins": [1, 2]}, "give one of"),
        ({"levels": ["a", "a"]}, "listed twice"),
        ({"bins": [2, 1]}, "must ascend"),
        ({"patterns": {"a": "("}}, "not a regular expression"),
    ],
)
def test_configs_of_columns_that_cannot_be_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        ColumnConfig(**config)
