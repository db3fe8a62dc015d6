"""Peers of the table model, each run by the interpreter of its own environment:

    python population_peers.py mst|privbayes|dpmm_mst|dpmm_aim IN.npz OUT.npz

IN holds codes (patient, column), sizes, epsilon, delta and rows; OUT gets the rows drawn and the seconds of fit and
draw. mst needs private-pgm 2 (`pip install private-pgm`; pulls in jax), the others need dpmm. mst is McKenna,
Miklau and Sheldon 2021, written here on that library's inference, which brings no mechanism of its own.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import combinations
from math import log, sqrt
from pathlib import Path

import numpy as np


def asked(python, method, codes, sizes, budget, rows):
    """Rows (row, column) that a peer draws, run by that interpreter, and its seconds by the clock."""
    with tempfile.TemporaryDirectory() as folder:
        given, drawn = Path(folder) / "in.npz", Path(folder) / "out.npz"
        epsilon, delta = budget
        np.savez_compressed(given, codes=codes, sizes=sizes, epsilon=epsilon, delta=delta, rows=rows)
        subprocess.run([python, "-W", "ignore", __file__, method, given, drawn], check=True)
        out = np.load(drawn)
        return out["codes"], float(out["seconds"])


def rho_of(epsilon, delta):
    """The zCDP that implies (epsilon, delta), by the simple bound of Bun and Steinke 2016."""
    return (sqrt(log(1 / delta) + epsilon) - sqrt(log(1 / delta))) ** 2


def tight_rho(epsilon, delta):
    """The zCDP that implies (epsilon, delta), by Canonne, Kamath and Steinke 2020, corollary 13."""

    def spent(rho):
        alphas = 1 + np.exp(np.linspace(-4, 8, 4000))
        logs = (alphas - 1) * (alphas * rho - epsilon) + alphas * np.log1p(-1 / alphas) - np.log(alphas - 1)
        return float(np.exp(logs.min()))

    low, high = rho_of(epsilon, delta), epsilon
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) < delta else (low, middle)
    return low


def mst(codes, sizes, epsilon, delta, rows):
    """A third of the budget each for columns, the spanning tree and its edges; rare levels are merged."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from mbi import Dataset, Domain, LinearMeasurement, estimation

    rng, rho = np.random.default_rng(0), tight_rho(epsilon, delta)
    names = [f"c{k}" for k in range(len(sizes))]
    sigma = sqrt(len(names) / (2 * rho / 3))
    groups, shares, merged = [], [], []
    for k, size in enumerate(sizes):
        noisy = np.bincount(codes[:, k], minlength=size) + rng.normal(0, sigma, size)
        rare = noisy < 3 * sigma
        group = np.where(rare, (~rare).sum(), np.cumsum(~rare) - 1) if rare.sum() > 1 else np.arange(size)
        groups.append(group)
        shares.append(np.maximum(noisy, 1.0))
        merged.append((np.bincount(group, noisy), sigma * np.sqrt(np.bincount(group)).max()))
    data = {name: groups[k][codes[:, k]] for k, name in enumerate(names)}
    domain = Domain(names, [int(group.max()) + 1 for group in groups])
    own = [LinearMeasurement(y, (name,), float(s)) for name, (y, s) in zip(names, merged, strict=True)]
    model = estimation.MirrorDescent().estimate(domain, own, known_total=float(len(codes)), iters=500)
    table, scores = Dataset(data, domain), {}
    for a, b in combinations(names, 2):
        guess = np.asarray(model.project((a, b)).datavector())
        scores[a, b] = float(np.abs(table.project((a, b)).datavector() - guess).sum())
    tree, joined, step = [], {name: name for name in names}, sqrt(8 * (rho / 3) / (len(names) - 1))
    while len(tree) < len(names) - 1:  # the exponential mechanism, edge by edge; sensitivity 1
        open_pairs = [pair for pair in scores if joined[pair[0]] != joined[pair[1]]]
        weight = np.array([scores[pair] for pair in open_pairs]) * step / 2
        weight = np.exp(weight - weight.max())
        a, b = open_pairs[rng.choice(len(open_pairs), p=weight / weight.sum())]
        tree.append((a, b))
        old = joined[b]
        joined = {name: joined[a] if root == old else root for name, root in joined.items()}
    sigma = sqrt(len(tree) / (2 * rho / 3))
    for pair in tree:
        counts = np.asarray(table.project(pair).datavector())
        own.append(LinearMeasurement(counts + rng.normal(0, sigma, counts.size), pair, sigma))
    model = estimation.MirrorDescent().estimate(domain, own, known_total=float(len(codes)), iters=2500)
    drawn = model.synthetic_data(rows).to_dict()
    out = np.empty((rows, len(names)), dtype=np.int64)
    for k, name in enumerate(names):
        values = np.asarray(drawn[name])
        for group in range(domain[name]):
            where, levels = np.flatnonzero(values == group), np.flatnonzero(groups[k] == group)
            share = shares[k][levels]
            out[where, k] = rng.choice(levels, len(where), p=share / share.sum())
    return out


def dpmm(codes, sizes, epsilon, delta, rows, method):
    """A model of dpmm, its defaults but for what would take too long; the sizes of the columns are public."""
    import pandas as pd
    from dpmm.models.aim import AIMGM
    from dpmm.models.mst import MSTGM
    from dpmm.models.priv_bayes import PrivBayesGM

    table = pd.DataFrame(codes, columns=[f"c{k}" for k in range(len(sizes))])
    domain = {name: int(size) for name, size in zip(table.columns, sizes, strict=True)}
    kind = {"privbayes": PrivBayesGM, "dpmm_mst": MSTGM, "dpmm_aim": AIMGM}[method]
    short = {  # in place of 5,000 iterations, and of 16 rounds a column with 1,000
        "dpmm_mst": {"n_iters": 1000},
        "dpmm_aim": {"n_iters": 200, "rounds": 3 * len(sizes)},
    }
    model = kind(epsilon=epsilon, delta=delta, domain=domain, n_jobs=1, **short.get(method, {}))
    model.fit(table)
    return model.generate(n_records=rows)[table.columns].to_numpy(dtype=np.int64)


def main():
    """Run one peer."""
    method, source, out = sys.argv[1:4]
    given = np.load(source)
    began = time.monotonic()
    run = mst if method == "mst" else partial(dpmm, method=method)
    drawn = run(
        given["codes"], given["sizes"], float(given["epsilon"]), float(given["delta"]), int(given["rows"])
    )
    np.savez_compressed(out, codes=drawn, seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
