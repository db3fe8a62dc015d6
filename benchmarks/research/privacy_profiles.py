"""Tables of patients' profiles: copied ones are found, and what anonymeter says of learnt ones.

    python benchmarks/research/privacy_profiles.py [--data DIR] [--quick] [--anonymeter PYTHON]

12 columns of diabetes130: 2,000 train patients, as many test patients as controls, and as many rows drawn from the
graphical model learnt from the former without noise, at epsilon 10 and at epsilon 1; beside them the train rows
themselves, a nearest-neighbour copier and independent columns. Columns: AUC of the nearest-record attack with its
range (as `polyclinic evaluate` makes it, on one-hot columns), exact copies of train and of control rows (a table of
few levels repeats itself by chance), and anonymeter's risks beyond controls with their intervals. anonymeter asks for
numpy below 2, so it runs in an environment of its own (--anonymeter names its interpreter; without one its columns
are not measured). Bars: the train rows and the copier are found (range above 0.50); what was learnt at epsilon 10
and 1 is not, and no anonymeter interval of theirs lies above zero. Exits 1 if one falls short.
"""

import _benchmarks  # noqa: F401

# isort: split
import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from population import HERE, coded
from population import patients as stays_of

from polyclinic import PatientProfile
from polyclinic.conditioning.table import mechanism
from polyclinic.conditioning.table.domain import columns_of
from polyclinic.conditioning.table.learning import TableOptions
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.config import DatasetConfig, parse, read_yaml
from polyclinic.core.dp.budget import Budget, noise_for
from polyclinic.core.modality import View
from polyclinic.eval.attacks.attack import attack
from polyclinic.eval.sample import Comparison, Sample

ROWS, QUICK, COLUMNS = 2000, 1000, 12
LEVELS = 0.1  # of the columns, that the copier takes from the nearest neighbour
RISKS = ("singling out", "linkability", "inference")
VIEW = View("profiles", "Profiles", "", lambda _: pd.DataFrame(), (), lambda *_: "", "")
Codes = NDArray[np.int64]


def learnt(train: Codes, sizes: list[int], columns: object, epsilon: float | None) -> Codes:
    """As many rows from a table learnt under a budget, or without noise."""
    shares = mechanism.shares()
    noise = [0.0] * len(shares) if epsilon is None else noise_for(Budget(epsilon, 1e-4), shares)
    model = TableModel(columns, mechanism.learn(train, sizes, noise, np.random.default_rng()))  # type: ignore[arg-type]
    return model.given().codes(np.random.default_rng(1).random((len(train), len(sizes))))[0]


def copier(train: Codes) -> Codes:
    """Each row with a tenth of its columns from its nearest neighbour."""
    rng, out = np.random.default_rng(2), train.copy()
    for i, row in enumerate(train):
        alike = (train == row).sum(1)
        alike[i] = -1
        swapped = rng.random(len(row)) < LEVELS
        out[i, swapped] = train[alike.argmax(), swapped]
    return out


def sample(codes: Codes, sizes: list[int], prefix: str) -> Sample:
    """One-hot columns, a row a patient."""
    table = pd.DataFrame(np.concatenate([np.eye(size)[codes[:, k]] for k, size in enumerate(sizes)], axis=1))
    table.columns = [f"x{k}" for k in table.columns]
    return Sample(table, table, tuple(PatientProfile(f"{prefix}{i}") for i in range(len(codes))), {}, [])


def copies(codes: Codes, of: Codes) -> int:
    """How many rows of `codes` are a row of `of`."""
    known = {row.tobytes() for row in of}
    return sum(row.tobytes() in known for row in codes)


def risks(
    python: str | None, train: Codes, control: Codes, synthetic: Codes
) -> dict[str, list[float]] | None:
    """anonymeter's, by name; None without its environment."""
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "in.npz", Path(folder) / "out.json"
        np.savez_compressed(given, train=train, control=control, synthetic=synthetic)
        subprocess.run(
            [python, "-W", "ignore", Path(__file__).parent / "privacy_anonymeter.py", given, out], check=True
        )
        found: dict[str, list[float]] = json.loads(out.read_text(encoding="utf-8"))
        return found


def main() -> int:
    """Print the table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} patients of each group")
    parser.add_argument("--only", default="", help="one table, by a part of its name")
    parser.add_argument("--anonymeter", help="Python of an environment with anonymeter")
    options = parser.parse_args()
    size = QUICK if options.quick else ROWS
    config = parse(DatasetConfig, read_yaml(HERE / "diabetes130.yaml"), "diabetes130.yaml")
    stays = stays_of(options.data).drop_duplicates("patient_nbr")
    (train, _, sizes), (control, _, _) = (
        coded(stays[stays["split"] == split].iloc[:size], config) for split in ("train", "test")
    )
    train, control, sizes = train[:, :COLUMNS], control[:, :COLUMNS], sizes[:COLUMNS]
    own = parse(TableOptions, dict(config.options), "options").columns
    columns = columns_of(config.fields, own, "benchmark")[:COLUMNS]
    rng = np.random.default_rng(3)
    arms: dict[str, tuple[Callable[[], Codes], str]] = {
        "independent columns": (lambda: np.column_stack([rng.permutation(c) for c in train.T]), ""),
        "graphical model, public": (lambda: learnt(train, sizes, columns, None), ""),
        "graphical model, epsilon 10.0": (lambda: learnt(train, sizes, columns, 10.0), "hidden"),
        "graphical model, epsilon 1.0": (lambda: learnt(train, sizes, columns, 1.0), "hidden"),
        "nearest-neighbour copier": (lambda: copier(train), "found"),
        "train rows": (lambda: train, "found"),
    }
    print(f"{len(train)} train, {len(control)} control patients, {len(sizes)} columns")
    heads = "".join(f"{'anonymeter, ' + name:>26}" for name in RISKS)
    print(f"{'table':30}{'nearest, AUC':>13}{'range':>14}{'copies':>8}{'of controls':>12}{heads}")
    bars = missed = 0
    for name, (make, bar) in arms.items():
        if options.only not in name:
            continue
        codes = make()
        sides = Comparison(
            VIEW, *(sample(c, sizes, p) for c, p in ((codes, "s"), (train, "t"), (control, "c")))
        )
        (found,) = [e for e in attack({"profiles": [sides]}).attacks if e.attack == "nearest_record"]
        assert found.interval is not None
        low, high = found.interval
        told = risks(options.anonymeter, train, control, codes)
        cells = "".join(
            f"{'not measured' if told is None else '{:.3f} ({:.3f} to {:.3f})'.format(*told[risk]):>26}"
            for risk in RISKS
        )
        hidden = low <= 0.5 and all(told is None or told[risk][1] <= 0 for risk in RISKS)
        met = {"": None, "hidden": hidden, "found": low > 0.5}[bar]
        bars, missed = bars + (met is not None), missed + (met is False)
        print(
            f"{name:30}{found.auc:13.3f}{f'{low:.2f} to {high:.2f}':>14}{copies(codes, train):8}"
            f"{copies(codes, control):12}{cells}  {'reported' if met is None else 'met' if met else 'MISSED'}",
            flush=True,
        )
    print(f"\n{bars} bars, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
