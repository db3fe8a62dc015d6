"""ECG and vitals compared with real ones, real-vs-real figures, bars and peers.

    python benchmarks/signals.py [--data DIR] [--quick] [--only PART ...] [--seeds SEED ...]

Real test rows judge; the floor puts other real rows (train) where synthetic ones stand. Bars are those of the project's
plan, set before the models were trained. Exits 1 if one falls short. NeuroKit2 (pip install neurokit2) is needed, as
delineator and as peer; deepfake-ecg (pip install --no-deps deepfake-ecg) gives a row where it is installed. Parts stand
alone: `--only` and `--seeds` measure some of them, and the others later. Each part ends with its processor time.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import signals_ecg
import signals_vitals
from signals_ecg import Row

PARTS = ("ecg", "vitals", "vitals-speed", "private-ecg", "private-vitals")


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
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of 0 and 1")
    options = parser.parse_args()
    missed, seeds = 0, options.seeds or (0, 1)
    vitals = ["--data", str(options.data), *(["--quick"] if options.quick else [])]
    if options.seeds:
        vitals += ["--seeds", *map(str, seeds)]
    parts: dict[str, Callable[[], int]] = {
        "ecg": lambda: show(signals_ecg.rows(options.data, seeds, peers=not options.quick)),
        "vitals": lambda: signals_vitals.main(vitals),
        "vitals-speed": lambda: signals_vitals.main(["--only", "speed", *vitals]),
        "private-ecg": lambda: show(signals_ecg.private_rows(options.data, seeds, options.quick)),
        "private-vitals": lambda: signals_vitals.main(["--only", "private", *vitals]),
    }
    for part in options.only:
        began = time.process_time()
        missed += parts[part]()
        print(f"{part}: {(time.process_time() - began) / 60:.1f} CPU minutes", flush=True)
    print(f"{missed} bars missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
