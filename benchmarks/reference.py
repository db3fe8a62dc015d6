"""Make eval/reference/<modality>.json: aggregates of held-out real data, and figures that need real rows.

Usage: python benchmarks/reference.py --data DIR --cohort DIR [--out eval/reference]

DIR of --data holds the reference data sets, as for `polyclinic evaluate --reference`. The cohort should be
one that the shipped weights drew; its classifier and train-on-synthetic figures are stored to be quoted
where no real rows are at hand.
"""

import argparse
from pathlib import Path

from polyclinic.app.training import references
from polyclinic.core.cohort import Cohort
from polyclinic.core.modality import load_modality
from polyclinic.eval import reference
from polyclinic.eval.report import judge


def main() -> None:
    """Score the cohort against real rows and write one file a modality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real reference data")
    parser.add_argument("--cohort", type=Path, required=True, help="cohort drawn by the shipped weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "eval" / "reference")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    real = references(options.data)
    cohort = Cohort.open(options.cohort)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, pairs in real.items():
        modality = load_modality(name)
        reports = judge(cohort, modality, pairs, seed=options.seed)
        quoted = {r.view.name: [s for s in r.scores if s.question != "distance"] for r in reports}
        path = options.out / f"{name}.json"
        reference.write(reference.aggregate(modality, pairs, quoted, options.seed), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        for report in reports:
            for s in report.scores:
                value = (
                    "not measured" if s.value is None else f"{s.value:.3f} (real {s.floor:.3f}) {s.verdict}"
                )
                print(f"  {report.view.title}: {s.title}: {value}")


if __name__ == "__main__":
    main()
