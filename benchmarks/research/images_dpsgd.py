"""What a private network could learn in place of the private prior: all of it, its modulation, low-rank adapters.

    python benchmarks/research/images_dpsgd.py [--data DIR] [--quick] [--weights FILE ... [--draws N]]

The private protocol of benchmarks/images.py at epsilon 10, the whole budget on each row: DP-SGD from the public prior
(and once without it), 64 patients a step, with 1 or 4 draws of noise and time a patient, against the Gaussian
prior and its maps, which need no training. One seed. Exits 1 when the prior is not the best of a column.
"""

import _benchmarks  # noqa: F401

# isort: split
import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import images_judges as judges
import images_peers as peers
import numpy as np
from images_private import Hospital, Ours
from images_table import DELTA, ENCODER, FID_UNIT, coordinates, drawn

from polyclinic.core.dp.budget import Budget
from polyclinic.core.training.weights import find, load
from polyclinic.eval.metrics.structured import frechet
from polyclinic.modalities.imaging.adapters import Trainable
from polyclinic.modalities.imaging.generator import ImageGenerator

WAYS: tuple[tuple[str, bool, Trainable, int], ...] = (
    ("all of it, no prior", False, "all", 1),
    ("all of it", True, "all", 1),
    ("modulation", True, "modulation", 1),
    ("adapters of rank 4", True, "lora", 1),
    ("modulation, 4 draws", True, "modulation", 4),
    ("adapters of rank 4, 4 draws", True, "lora", 4),
)
PATIENTS = 64  # a step


def main() -> int:
    """Print the table; 0 if the prior is the best by each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick", action="store_true", help="10 steps and 300 images, in place of 200 and 1,000"
    )
    parser.add_argument(
        "--weights", type=Path, nargs="+", default=[], help="judge these alone, as `train imaging` wrote them"
    )
    parser.add_argument(
        "--draws", type=int, default=1, help="of each of --weights, by seeds 0, 1, ...: their means"
    )
    options = parser.parse_args()
    steps, size = (10, 300) if options.quick else (200, 1000)
    prior = load(find("imaging_prior"))
    generator = ImageGenerator(prior, ENCODER.columns)
    space = judges.FeatureSpace(find("imaging_features"))
    own = Hospital.read(options.data, np.random.default_rng(0))
    wanted, target = own.y[:size], space(own.test)
    print(
        f"{f'{steps} steps, epsilon 10, {size} images':40}{'logistic':>10}{'CNN':>8}{'FID':>9}{'minutes':>9}"
    )

    def show(name: str, draws: Sequence[peers.Pixels], minutes: float) -> tuple[float, float, float]:
        found = []
        for pixels in draws:
            nets = [judges.convolutional(pixels, wanted, own.test, k) for k in (0, 1)]
            areas = (
                judges.auroc(judges.logistic(pixels, wanted, own.test), own.truth),
                judges.mean_auroc(np.stack(nets), own.truth),
            )
            found.append((*areas, frechet(target, space(pixels)) / FID_UNIT))
        logistic, cnn, far = np.mean(found, axis=0)
        print(f"{name:40}{logistic:10.3f}{cnn:8.3f}{far:9.3f}{minutes:9.1f}", flush=True)
        return logistic, cnn, -far

    show("real films", [own.x[:size]], 0.0)
    for path in options.weights:
        made = ImageGenerator(load(path), ENCODER.columns)
        show(path.stem, [drawn(made, own.profiles[:size], seed) for seed in range(options.draws)], 0.0)
    if options.weights:
        return 0
    law = Ours(own, generator, coordinates(generator, own.x), 0)
    ours = show("the Gaussian prior and its maps", [law.images(10.0, own.profiles[:size])], 0.0)
    others = []
    for name, public, kind, draws in WAYS:
        began = time.monotonic()
        start = prior if public else None
        pixels = peers.dp_sgd(
            own.x, own.y, wanted, Budget(10.0, DELTA), steps, PATIENTS, 0, start, kind, draws
        )
        others.append(show(f"DP-SGD, {name}", [pixels], (time.monotonic() - began) / 60))
    return (
        0
        if all(mine >= max(column) for mine, column in zip(ours, zip(*others, strict=True), strict=True))
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
