"""Regressions agree with statsmodels; combined intervals cover as often as they say, and refuse what cannot be."""

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.errors import InputError
from polyclinic.eval.inference import combine
from polyclinic.eval.regression import Estimates, cox, ipw, linear, logistic

TERMS = ("x", "z")


def table(rows=1500, seed=0):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows), (rng.random(rows) < 0.3).astype(float)
    y = 1 + 0.5 * x - 0.3 * z + rng.normal(size=rows) * (1 + 0.5 * np.abs(x))
    ill = (rng.random(rows) < 1 / (1 + np.exp(1 - 0.5 * x - 0.4 * z))).astype(int)
    time = np.ceil(rng.exponential(size=rows) * np.exp(-0.5 * x) * 5)  # many ties
    return pd.DataFrame(
        {"x": x, "z": z, "y": y, "ill": ill, "time": time, "seen": (rng.random(rows) < 0.8).astype(int)}
    )


def test_regressions_agree_with_statsmodels():
    api = pytest.importorskip("statsmodels.api", reason="statsmodels, of the test extra, is not installed")
    hazard = pytest.importorskip("statsmodels.duration.hazard_regression")
    known = table()
    design = api.add_constant(known[[*TERMS]])
    theirs = [
        (linear(known, "y", TERMS), api.OLS(known.y, design).fit(cov_type="HC1"), 1),
        (logistic(known, "ill", TERMS), api.Logit(known.ill, design).fit(disp=0), 1),
        (
            cox(known, "time", "seen", TERMS),
            hazard.PHReg(known.time, known[[*TERMS]], status=known.seen, ties="efron").fit(),
            0,
        ),
    ]
    for ours, other, first in theirs:
        np.testing.assert_allclose(ours.values, np.asarray(other.params)[first:], rtol=1e-5)
        np.testing.assert_allclose(np.sqrt(ours.variances), np.asarray(other.bse)[first:], rtol=1e-4)


@pytest.mark.parametrize("rows", [400, 4000])
def test_combined_intervals_cover_and_naive_ones_do_not(rows):
    """Truth 0; what is known of it has variance 1 / 100, a set of `rows` adds 1 / rows, whatever the rows."""
    rng, many = np.random.default_rng(0), 1000
    terms = tuple(f"replicate {k}" for k in range(many))
    centre = rng.normal(0, 0.1, many)
    found = [
        Estimates(
            terms, centre + rng.normal(0, 0.1, many) + rng.normal(0, rows**-0.5, many), np.full(many, 1 / rows), rows
        )
        for _ in range(20)
    ]  # fmt: skip
    shares = []
    for one in (combine(found, rows), found[0]):
        table = one.intervals()
        shares.append(float(((table.low <= 0) & (table.high >= 0)).mean()))
    assert 0.925 < shares[0] < 0.985
    assert shares[1] < 0.75


def test_a_wider_level_is_a_wider_interval_and_never_narrower_than_real_rows_allow():
    same = [
        Estimates(("x",), np.array([1.0]), np.array([0.04]), 100)
    ] * 5  # by chance no variance between sets
    found = combine(same)
    assert found.errors[0] == pytest.approx(0.2)
    assert combine(same, patients=400).errors[0] == pytest.approx(0.1)
    narrow, wide = found.intervals(0.5), found.intervals(0.99)
    assert wide.low["x"] < narrow.low["x"] < narrow.high["x"] < wide.high["x"]


def test_weighting_takes_confounding_away():
    rng, rows = np.random.default_rng(0), 20_000
    x = rng.normal(size=rows)
    treated = (rng.random(rows) < 1 / (1 + np.exp(-x))).astype(float)
    known = pd.DataFrame({"x": x, "treated": treated, "y": 2 * treated + 3 * x + rng.normal(size=rows)})
    crude, weighted = linear(known, "y", ("treated",)), ipw(known, "y", "treated", ("x",))
    assert crude.values[0] > 4
    assert abs(weighted.values[0] - 2) < 5 * np.sqrt(weighted.variances[0])


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (lambda t: linear(t, "nothing", TERMS), "no column 'nothing'"),
        (lambda t: linear(t.assign(w=t.x + t.z), "y", ("x", "z", "w")), "follows from others"),
        (lambda t: linear(t.assign(w=1.0), "y", ("w",)), "constant"),
        (lambda t: linear(t.assign(x="a"), "y", TERMS), "expected numbers"),
        (lambda t: linear(t.assign(x=np.nan), "y", TERMS), "empty cells"),
        (lambda t: logistic(t, "y", TERMS), "both 0 and 1"),
        (lambda t: logistic(t.assign(ill=(t.x > 0).astype(int)), "ill", TERMS), "without error"),
        (lambda t: cox(t.assign(seen=0), "time", "seen", TERMS), "1 at least once"),
        (lambda t: combine([linear(t, "y", TERMS)] * 2), "3 sets or more"),
        (lambda t: combine([linear(t, "y", TERMS)] * 3 + [linear(t, "y", ("x",))]), "the first"),
        (lambda t: linear(t, "y", TERMS).intervals(95), "between 0 and 1"),
    ],
)
def test_what_cannot_be_is_told(run, told):
    with pytest.raises(InputError, match=told):
        run(table())
