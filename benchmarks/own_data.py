"""What a newcomer's own data reach: four sets of other kinds, publicly and at epsilon 8, by commands of the docs alone.

    python benchmarks/own_data.py [--data DIR] [--quick] [--only NAME ...] [--work DIR] [--show]

The sets are described by `benchmarks/own_data/NAME.yaml`, which becomes the folder's dataset.yaml: photographs of
skin in colour with melanoma (isic2017), labs of intensive care in place of vital signs (vitals_icu), a one-lead Holter
(ludb), and miRNA alone with the stage as class (tcga_brca). Each is trained, drawn and evaluated by `polyclinic`, once
publicly and once at epsilon 8; no Python is written. Figures are those of `polyclinic evaluate` on the test rows:

    TSTR        AUROC of a classifier trained on synthetic records; real: on as many real ones
    recovered   AUROC at which a classifier trained on real records finds the label in synthetic ones; real: in test

Bars hold for labels that real rows teach (AUROC of at least .6); the mean over seeds is judged. Peer: each number of a
record drawn alone from the training rows of its class, without privacy.
`--work` keeps folders and weights, and goes on from them. `--show` prints the commands. Exits 1 if a bar is missed.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from quality import Drawn

from polyclinic import Patient, Record, load_modality
from polyclinic.app.training import references
from polyclinic.eval.report.report import judge

HERE = Path(__file__).parent / "own_data"
TEACHES = 0.6  # AUROC of real rows from which on a label is judged
BARS = {"public": 0.95, "epsilon 8": 0.90}  # TSTR over TRTR
NEAR = 0.05  # AUROC that recovery may lie under real


@dataclass(frozen=True)
class Own:
    """A set: its folder below the data, what is linked from there, and what a user types."""

    name: str
    folder: str
    files: tuple[str, ...]
    weights: str
    fields: str
    delta: str
    public: tuple[str, ...] = ()  # further options of `train --public`
    private: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()  # of both, with --quick

    @property
    def modality(self) -> str:
        return str(self.described["options"]["modality"])

    @property
    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((HERE / f"{self.name}.yaml").read_text())
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.described["declare"])


SETS = (
    Own("skin", "images/isic2017", ("images", "patients.csv"), "imaging", "melanoma: 300 yes, 300 no", "1e-4",
        public=("--max-minutes", "10"), quick=("--max-minutes", "0.4")),
    Own("labs", "signals/vitals_icu", ("patients.csv.gz", "series.parquet"), "vitals",
        "sepsis: 400 yes, 1600 no", "1e-5"),
    Own("holter", "signals/ludb", ("data", "patients.csv"), "ecg", "lvh: 150 yes, 150 no", "1e-3",
        private=("--init", "ecg")),
    Own("mirna", "omics/tcga_brca", ("mirna.csv.gz", "patients.csv"), "omics", "lobular: 200 yes, 400 no", "1e-3"),
)  # fmt: skip


def main() -> int:
    """Print one table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="one seed, trainings of seconds, no peer")
    parser.add_argument("--only", nargs="*", default=[own.name for own in SETS], help="some of the sets")
    parser.add_argument("--work", type=Path, help="keep folders and weights here, and go on from them")
    parser.add_argument("--show", action="store_true", help="print the commands")
    options = parser.parse_args()
    seeds = (0,) if options.quick else (0, 1)
    chosen = [own for own in SETS if own.name in options.only]
    head = f"{'set':8}{'trained':11}{'label':16}{'figure':12}{'ours':>16}{'real':>8}{'peer':>8}{'bar':>9}  verdict"
    missed, reached = 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        print(head, flush=True)
        for own in chosen:
            folder = prepared(own, options.data, work)
            peer = {} if options.quick else peers(own, folder)
            for privacy in BARS:
                runs = [ran(own, folder, work, privacy, seed, options) for seed in seeds]
                reached += all(run is not None for run in runs)
                missed += show(own, privacy, [run for run in runs if run], peer)
    wanted = len(chosen) * len(BARS)
    verdict = "met" if reached == wanted else "MISSED"
    print(f"sets that end in a cohort and a report: {reached} of {wanted}, bar {wanted}: {verdict}")
    print("lines of Python written: 0")
    return int(missed > 0 or reached < wanted)


def prepared(own: Own, data: Path, work: Path) -> Path:
    """A folder as a user has it: links to the files, and dataset.yaml beside them."""
    folder = work / own.name / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in own.files:
        if not (folder / name).exists():
            (folder / name).symlink_to((data / own.folder / name).resolve())
    (folder / "dataset.yaml").write_text((HERE / f"{own.name}.yaml").read_text())
    return folder


def ran(
    own: Own, folder: Path, work: Path, privacy: str, seed: int, options: argparse.Namespace
) -> dict[str, Any] | None:
    """scores.json of the three commands; None, with its last line of stderr printed, where one fails."""
    place = work / own.name / f"{privacy.replace(' ', '')}-{seed}{'-quick' if options.quick else ''}"
    place.mkdir(exist_ok=True)
    weights, cohort, report = (
        place / "weights" / f"{own.weights}.safetensors",
        place / "cohort",
        place / "report",
    )
    weights.parent.mkdir(exist_ok=True)
    budget = ["--public"] if privacy == "public" else ["--epsilon", "8", "--delta", own.delta]
    further = own.public if privacy == "public" else own.private
    further = (*further, *own.quick) if options.quick else further
    steps = (
        (weights, ["train", own.modality, "--data", folder, "--out", weights, "--seed", seed, *budget, *further]),
        (cohort / "manifest.json", ["generate", "--fields", own.fields, "--modalities", own.modality, "--seed", seed,
                                    "--out", cohort]),
        (report / "scores.json", ["evaluate", cohort, "--reference", folder, "--out", report]),
    )  # fmt: skip
    for made, command in steps:
        if made.exists():
            continue
        words = ["polyclinic", *map(str, command)]
        if options.show:
            print("   ", shlex.join(words), flush=True)
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", *words], env=environment(weights.parent, words[1]),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        (place / f"{words[1]}.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            print(f"{own.name}: {words[1]} ended with {done.returncode}: {last}", flush=True)
            return None
        if options.show:
            print(f"    {time.monotonic() - start:.0f} s", flush=True)
    found: dict[str, Any] = json.loads((report / "scores.json").read_text())
    return found


def environment(weights: Path, command: str) -> dict[str, str]:
    """The user's weights are in force, but for training, which begins with those that ship."""
    named = {} if command == "train" else {"POLYCLINIC_WEIGHTS": str(weights)}
    return {**{k: v for k, v in os.environ.items() if k != "POLYCLINIC_WEIGHTS"}, **named}


def figures(views: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, float, float]]:
    """Label, figure, ours and real of the views' TSTR and TRTS scores, by a field's label."""
    for view in views:
        for score in view["scores"]:
            if score["metric"] in ("tstr_auroc", "trts_auroc") and score["value"] is not None:
                yield score["task"], score["metric"], score["value"], score["real_baseline"]


def peers(own: Own, folder: Path) -> dict[tuple[str, str], float]:
    """The same figures of records whose numbers are drawn alone, from training rows of the same class of each label."""
    modality = load_modality(own.modality)
    pairs = references(folder)[own.modality]
    found: dict[tuple[str, str], float] = {}
    for train, _ in pairs:
        records = modality.load(train)
        for label in own.labels:
            classes: dict[Any, list[int]] = defaultdict(list)
            for row, profile in enumerate(train.profiles[: len(records)]):
                if (value := profile.get(label)) is not None:
                    classes[value].append(row)
            drawn = Drawn(list(independent(modality.name, records, train.profiles, list(classes.values()))))
            title = train.vocabulary.field(label).label
            for comparison in judge(drawn, modality, pairs, seed=0):
                for score in comparison.scores:
                    if score.task == title and score.value is not None:
                        found[title, score.metric] = score.value
    return found


def independent(
    name: str, records: Sequence[Record], profiles: Sequence[Any], classes: Sequence[Sequence[int]]
) -> Iterator[Patient]:
    """At most 300 patients a class; every number of a record from another row of the class."""
    rng = np.random.default_rng(0)
    for rows in classes:
        pools: dict[tuple[str, tuple[int, ...]], list[np.ndarray]] = defaultdict(list)
        for row in rows:
            for key, value in records[row].arrays.items():
                pools[key, value.shape].append(value.reshape(-1))
        stacked = {place: np.stack(pool) for place, pool in pools.items()}  # (row, number)
        for row in rows[:300]:
            arrays = {}
            for key, value in records[row].arrays.items():
                pool = stacked[key, value.shape]
                pick = rng.integers(len(pool), size=value.size)
                mixed = pool[pick, np.arange(value.size)].reshape(value.shape)
                arrays[key] = mixed if value.dtype.kind in "fiu" else value
            yield Patient(profiles[row], {name: Record(arrays, records[row].facts)})


def show(own: Own, privacy: str, runs: Sequence[dict[str, Any]], peer: dict[tuple[str, str], float]) -> int:
    """Print the rows of a set; how many bars were missed."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for run in runs:
        for label, metric, value, real in figures(run["views"]):
            found[label, metric].append((value, real))
    missed = 0
    for (label, metric), values in sorted(found.items()):
        ours, real = np.mean(values, axis=0)
        share = metric == "tstr_auroc"
        limit = BARS[privacy] * real if share else real - NEAR
        met = ours >= limit
        verdict = "not taught by real rows" if real < TEACHES else "met" if met else "MISSED"
        missed += verdict == "MISSED"
        other = peer.get((label, metric))
        each = f"{ours:.3f} ({' '.join(f'{value:.2f}' for value, _ in values)})"
        print(
            f"{own.name:8}{privacy:11}{label[:15]:16}{'TSTR' if share else 'recovered':12}{each:>16}{real:8.3f}"
            f"{'' if other is None else f'{other:.3f}':>8}{f'>= {limit:.3f}':>9}  {verdict}", flush=True,
        )  # fmt: skip
    return missed


if __name__ == "__main__":
    sys.exit(main())
