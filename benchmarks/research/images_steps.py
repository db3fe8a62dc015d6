"""How many evaluations of the network an X-ray needs, on train rows alone: what few steps were chosen from.

    python benchmarks/research/images_steps.py [--data DIR] [--quick] [--flow FILE] [--weights FILE ...]

X-rays with the profiles of cxr_nih's train patients, by the weights in force, compared with the films of these patients
at 64 pixels (Fréchet distance in the public features of imaging_features, precision, recall). --flow draws those of a
flow (train imaging --config imaging) in 12 to 4 evaluations beside them, and how far they are from 12 (mean absolute
difference of the shown 256 pixels, in grey levels of 4,095); --weights adds other weights. All have seen these
patients. Exits 1 when the weights in force are farther from the films than the flow in 8 evaluations is by more than
twice what another seed of the flow changes.
"""

import _benchmarks  # noqa: F401

# isort: split
import argparse
import sys
import time
from pathlib import Path

import images_judges as judges
import numpy as np
from images_table import ENCODER, FID_UNIT, read

from polyclinic import Batch, seed_for
from polyclinic.core.training.weights import find, load
from polyclinic.core.types import Float32Array
from polyclinic.eval.metrics.structured import frechet, prdc
from polyclinic.modalities.imaging import generator as drawing

MOST = 12


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="256 films in place of 1,024")
    parser.add_argument("--flow", type=Path, help="weights of a flow")
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help="others, beside those in force")
    options = parser.parse_args()
    films, owners = read("imaging", "cxr_nih", options.data, "train")
    chosen = np.random.default_rng(0).permutation(len(owners))[: 256 if options.quick else 1024]
    films, own = films[chosen], [owners[i] for i in chosen]
    space = judges.FeatureSpace(find("imaging_features"))
    target = space(films)

    def drawn(made: drawing.ImageGenerator, steps: int, stream: str) -> tuple[Float32Array, float]:
        drawing.STEPS = steps
        began, found = time.process_time(), []
        for start in range(0, len(own), 16):
            some = own[start : start + 16]
            seeds = tuple(seed_for(0, f"{start + i}", stream) for i in range(len(some)))
            found.append(made.draw(Batch(tuple(some), ENCODER.encode(some), seeds)))
        return np.concatenate(found)[:, 0], 1000 * (time.process_time() - began) / len(own)

    usual = drawing.STEPS
    rows: list[tuple[str, Path, int, str]] = []
    if options.flow:
        rows += [(f"{n} steps", options.flow, n, "steps") for n in (MOST, usual, 6, 5, 4)]
        rows.append((f"{usual} steps, other seeds", options.flow, usual, "others"))
    rows += [(f"weights {path.stem}", path, usual, "steps") for path in (find("imaging"), *options.weights)]
    print(f"{'way':32}{'Fréchet':>9}{'precision':>11}{'recall':>8}{'grey levels off':>17}{'ms an X-ray':>13}")
    far: dict[str, float] = {}
    first = None
    for name, path, steps, stream in rows:
        weights = load(path)
        finer = load(find(weights.card.model["shows"]["upsampler"]))
        images, cost = drawn(drawing.ImageGenerator(weights, ENCODER.columns, finer), steps, stream)
        first = images if first is None else first
        small = images.reshape(
            len(images), films.shape[1], -1, films.shape[2], images.shape[2] // films.shape[2]
        ).mean((2, 4))
        cloud = space((small + 1) / 2)
        held = prdc(target, cloud)
        far[name] = frechet(target, cloud) / FID_UNIT
        off = float(np.abs(images - first).mean()) * 4095 / 2
        print(
            f"{name:32}{far[name]:9.3f}{held.precision:11.3f}{held.recall:8.3f}{off:17.1f}{cost:13.1f}",
            flush=True,
        )
    if not options.flow:
        return 0
    spread = abs(far[f"{usual} steps, other seeds"] - far[f"{usual} steps"])
    return 0 if far["weights imaging"] <= far[f"{usual} steps"] + 2 * spread else 1


if __name__ == "__main__":
    sys.exit(main())
