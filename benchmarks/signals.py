"""ECG and vitals compared with real ones, real-vs-real figures, bars and peers.

    python benchmarks/signals.py [--data DIR] [--quick] [--only ecg|vitals|private]

Real test rows judge; the floor puts other real rows (train) where synthetic ones stand. Bars are those of the project's
plan, set before the models were trained. Exits 1 if one falls short. NeuroKit2 (pip install neurokit2) is needed, as
delineator and as peer; deepfake-ecg (pip install --no-deps deepfake-ecg) gives a row where it is installed.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import signals_ecg
import signals_vitals
from signals_ecg import Row


def show(rows: Iterable[Row]) -> int:
    """Print a table as it comes; how many bars were missed."""
    print(f"{'figure':52}{'ours':>9}{'floor':>9}{'bar':>10}  verdict", flush=True)
    missed = 0
    for row in rows:
        bar = (
            "" if row.met is None else f"<= {row.most:.3f}" if row.most is not None else f">= {row.least:.3f}"
        )
        floor = "" if row.floor is None else f"{row.floor:.3f}"
        verdict = row.note if row.met is None else "met" if row.met else "MISSED"
        missed += row.met is False
        print(f"{row.figure:52}{row.value:9.3f}{floor:>9}{bar:>10}  {verdict}", flush=True)
    return missed


def main() -> int:
    """Print both tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick", action="store_true", help="ECGs without peers; vitals and private ones of one seed"
    )
    parser.add_argument("--only", choices=("ecg", "vitals", "private"), default="")
    options = parser.parse_args()
    missed, quick = 0, ["--quick"] if options.quick else []
    if options.only in ("", "ecg"):
        missed += show(signals_ecg.rows(options.data, (0, 1), peers=not options.quick))
    if options.only in ("", "vitals"):
        missed += signals_vitals.main(["--data", str(options.data), *quick])
    if options.only in ("", "private"):
        missed += show(signals_ecg.private_rows(options.data, (0, 1), options.quick))
        missed += signals_vitals.main(["--only", "private", "--data", str(options.data), *quick])
    print(f"{missed} bars missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
