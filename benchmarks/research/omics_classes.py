"""What private classes of few patients with many features are worth, and where training refuses.

    python benchmarks/research/omics_classes.py [--data DIR] [--quick]

A made-up array of three classes, in each of which one feature in twenty has another mean. Accuracy is the share of
real samples, not learnt from, that lie nearest to the released mean of their class. --data is accepted for uniformity
and not used. Exits 1 below the bar: 0.9 where training goes on.
"""

import argparse
import sys

import numpy as np

from polyclinic.core.dp.budget import Budget
from polyclinic.core.fields import Declaration, Field
from polyclinic.core.modality import DatasetSource
from polyclinic.modalities.omics import class_means
from polyclinic.modalities.omics.classes import Classes
from polyclinic.modalities.omics.private import Mechanisms
from polyclinic.modalities.omics.tumours import Layout, Tumours

BAR, DELTA, NEW = 0.9, 1e-3, 300
NAMES = ("B", "T", "M")
SIZES = ((300, 12_625, 8.0), (300, 12_625, 4.0), (150, 12_625, 8.0), (600, 12_625, 8.0), (300, 2_000, 8.0))
QUICK = ((300, 2_000, 8.0), (80, 2_000, 1.0))


def array(patients: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (patient, feature) and each patient's class."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, patients, p=(0.5, 0.2, 0.3))
    shift = rng.normal(size=(3, features)) * (rng.random((3, features)) < 0.05)
    middle, spread = rng.normal(7, 1.6, features), rng.uniform(0.5, 1.6, features)
    return (middle + spread * (shift[kind] + rng.normal(size=(patients, features)))).astype(np.float32), kind


def samples(values: np.ndarray, kind: np.ndarray) -> Tumours:
    """As training reads them."""
    classes = Classes.of(Field.of("lineage", Declaration(kind="category", classes=list(NAMES))))
    code = np.concatenate([np.eye(3)[kind], np.ones((len(kind), 1))], axis=1).astype(np.float32)
    columns = (*(f"lineage={name}" for name in NAMES), "lineage?")
    layout = Layout({"array": tuple(f"{i}_at" for i in range(values.shape[1]))})
    ids = tuple(map(str, range(len(values))))
    return Tumours(values, layout, code, columns, ids, DatasetSource("made up", "none"), classes=classes)


def main() -> int:
    """Print the table; 0 if what is not refused reaches the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--quick", action="store_true", help="2,000 features")
    short = False
    print(
        f"{'patients':>9}{'features':>10}{'epsilon':>9}{'signal-to-noise':>17}{'accuracy':>10}{'bar':>6}  verdict"
    )
    for patients, features, epsilon in QUICK if parser.parse_args().quick else SIZES:
        values, kind = array(patients + NEW, features)
        data, budget = samples(values[:patients], kind[:patients]), Budget(epsilon, DELTA)
        noise = class_means.class_noise(data, budget)
        # noise of the operating system's entropy, as in training
        found = class_means.learn(
            data, Mechanisms(class_means.multipliers(budget), False, np.random.default_rng())
        )
        away = (values[patients:] - found.location) / found.spread
        nearest = np.square(away[:, None] - found.factors.centres @ found.loadings.T).sum(2).argmin(1)
        accuracy = float((nearest == kind[patients:]).mean())
        refused = noise > class_means.DROWNED
        verdict = "refused, figure if forced" if refused else "met" if accuracy >= BAR else "MISSED"
        short |= verdict == "MISSED"
        bar = "" if refused else f"{BAR:g}"
        print(
            f"{patients:9,}{features:10,}{epsilon:9g}{1 / noise:17.2f}{accuracy:10.3f}{bar:>6}  {verdict}",
            flush=True,
        )
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
