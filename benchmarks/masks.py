"""Masks: a segmenter taught by synthetic pairs of image and mask against one taught by real pairs, judged on real ones.

    python benchmarks/masks.py [--data DIR] [--quick] [--models NAME ...] [--minutes M] [--seed S] [--sheet FILE]

Two sets. Made-up pairs, whose masks are exact: two ellipses, and in half of them a small bright disc. And chest X-rays
of children (cxr_kermany, 64 pixels), whose masks are drawn by a rule of this file: what is darker than its surroundings
(black top-hat), by Otsu's threshold, and of each side the largest connected component where a lung may lie. The rule is
a rule and no expert's mask. It finds two lungs on three of four films; the others are left out of all sides alike. It
was chosen on train rows. Train rows teach models and segmenters; test rows judge.

A row: Dice coefficient on test pairs of a segmenter taught by pairs drawn from the model, as many as the real training
pairs beside them. The floor is a segmenter taught by pairs whose masks were dealt to other images.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from images_table import ENCODER, Table, read
from numpy.typing import NDArray
from PIL import Image

from polyclinic import Batch, PatientProfile, seed_for
from polyclinic.app.training import Privacy, train
from polyclinic.core.modality import Record
from polyclinic.core.training.weights import load
from polyclinic.eval.metrics.segmenter import Segmenter, dice
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.mask_metrics import overlaid

Pairs = tuple[NDArray[np.float64], NDArray[np.int64]]  # (image, y, x) in [0, 1] and labels
SIDE, EPSILON, DELTA = 64, 8.0, 1e-4
AIR, HOLLOW = (
    12,
    (41, 23),
)  # pixels of black around an X-ray; rows and columns in which a hollow is darker than its edge
LEAST, MOST = 0.03, 0.25  # of the image's area that one lung covers


@dataclass(frozen=True)
class Task:
    """Pairs of train and test rows, and what their masks show."""

    name: str
    labels: tuple[str, ...]
    train: Pairs
    test: Pairs
    lost: float = 0.0  # share of films on which the rule finds no two lungs


def made_up(images: int, random: np.random.Generator) -> Pairs:
    """Two bright ellipses on a slope, and in half of the images a brighter disc; noise."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    shown, covers = np.empty((images, SIDE, SIDE)), np.zeros((images, SIDE, SIDE), dtype=np.int64)
    for image, cover in zip(shown, covers, strict=True):
        image[:] = 0.3 + 0.2 * (y - 0.5) * random.uniform(-1, 1)
        for middle in (0.3, 0.7):
            at = middle + random.normal(0, 0.02), 0.5 + random.normal(0, 0.04)
            here = ((x - at[0]) / (0.13 * random.uniform(0.8, 1.2))) ** 2 + (
                (y - at[1]) / (0.28 * random.uniform(0.8, 1.2))
            ) ** 2 < 1
            image[here] += random.uniform(0.2, 0.3)
            cover[here] = 1
        if random.random() < 0.5:
            at = random.uniform(0.4, 0.6), random.uniform(0.2, 0.8)
            here = np.hypot(x - at[0], y - at[1]) < random.uniform(0.05, 0.09)
            image[here] = 0.9
            cover[here] = 2
        image += random.normal(0, 0.04, image.shape)
    return shown.clip(0, 1), covers


def lungs(image: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """(y, x) 1 where the rule finds a lung, None where it does not find two."""
    from scipy.ndimage import (
        binary_closing,
        binary_fill_holes,
        binary_opening,
        black_tophat,
        center_of_mass,
        gaussian_filter,
        label,
    )  # fmt: skip

    air = np.pad(gaussian_filter(image, 1.0), AIR)
    hollow = black_tophat(air, size=HOLLOW)[AIR:-AIR, AIR:-AIR]
    dark = hollow > otsu(hollow[4:-4, 4:-4])
    dark[:4] = dark[-4:] = dark[:, :4] = dark[:, -4:] = False
    dark = binary_opening(dark)
    found = np.zeros(image.shape, dtype=bool)
    for side in (slice(None, SIDE // 2), slice(SIDE // 2, None)):
        half = np.zeros(image.shape, dtype=bool)
        half[:, side] = dark[:, side]
        parts, count = label(half)
        own = [part for part in (parts == n for n in range(1, count + 1)) if LEAST < part.mean() < MOST]
        placed = [(part, center_of_mass(part)) for part in own]
        own = [part for part, (y, x) in placed if 16 < y < 45 and 11.5 < min(x, SIDE - 1 - x) < 27]
        if not own:
            return None
        found |= binary_fill_holes(binary_closing(max(own, key=np.sum), iterations=2))
    return found.astype(np.int64)


def otsu(values: NDArray[np.float64]) -> float:
    """The threshold that parts values into the two groups of least variance within (Otsu 1979)."""
    counts, edges = np.histogram(values, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / total - sums) ** 2 / (below * (total - below))
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def films(data: Path, split: str, most: int, random: np.random.Generator) -> tuple[Pairs, float]:
    """X-rays with the masks that the rule finds, one a patient, and the share on which it finds none."""
    images, profiles = read("imaging_private", "cxr_kermany", data, split)
    order = random.permutation(len(images))
    _, first = np.unique([profiles[i].patient_id for i in order], return_index=True)
    chosen = random.permutation(order[first])
    pairs = [(images[i].astype(np.float64), lungs(images[i].astype(np.float64))) for i in chosen]
    kept = [(image, cover) for image, cover in pairs if cover is not None]
    shown, covers = zip(*kept[:most], strict=True)
    return (np.stack(shown), np.stack(covers)), 1 - len(kept) / len(pairs)


def tasks(data: Path, quick: bool, seed: int) -> Iterator[Task]:
    """Both sets."""
    random = np.random.default_rng(seed)
    images = 800 if quick else 2000
    yield Task("made-up pairs", ("ellipse", "disc"), made_up(images, random), made_up(200, random))
    if not (data / "images" / "cxr_kermany").is_dir():
        print(f"no cxr_kermany in {data}: left out")
        return
    (teach, lost), (judge, _) = films(data, "train", images, random), films(data, "test", 300, random)
    yield Task("chest X-rays, lungs by a rule", ("lung",), teach, judge, lost)


def folder(task: Task, place: Path) -> None:
    """The training pairs as PNG files with a table and a dataset.yaml, as a user has them."""
    rows = ["patient_id,record,mask"]
    for n, (image, cover) in enumerate(zip(*task.train, strict=True)):
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(place / f"{n}.png")
        Image.fromarray(cover.astype(np.uint8)).save(place / f"{n}-mask.png")
        rows.append(f"P{n},{n}.png,{n}-mask.png")
    (place / "patients.csv").write_text("\n".join(rows) + "\n")
    said = {
        "name": "pairs", "split": None, "test_share": 0, "mask": "mask",
        "mask_labels": dict(enumerate(task.labels, start=1)),
        "options": {"modality": "imaging", "burned_in": "ignore", "shows": {"body_part": "CHEST"}},
    }  # fmt: skip
    (place / "dataset.yaml").write_text(yaml.safe_dump(said))


def drawn(task: Task, model: str, epsilon: float | None, minutes: float, seed: int) -> list[Record]:
    """As many pairs as taught the model."""
    with TemporaryDirectory() as name:
        place = Path(name)
        (place / "data").mkdir()
        folder(task, place / "data")
        config = place / "config.yaml"
        config.write_text(
            yaml.safe_dump({"modality": "imaging", "name": "masks", "model": {"kind": model}, "seed": seed})
        )
        privacy = Privacy(epsilon, None if epsilon is None else DELTA, place / "ledger.jsonl")
        out = place / "weights.safetensors"
        limit = minutes if model == "flow" else None
        train("imaging", place / "data", out, privacy, config=str(config), max_minutes=limit)
        generator = ImageGenerator(load(out), ENCODER.columns)
        records: list[Record] = []
        for start in range(0, len(task.train[0]), 64):
            people = tuple(PatientProfile(str(n)) for n in range(start, min(start + 64, len(task.train[0]))))
            seeds = tuple(seed_for(seed, person.patient_id, "masks") for person in people)
            records += generator.sample(Batch(people, ENCODER.encode(people), seeds))
        return records


def pairs_of(records: list[Record]) -> Pairs:
    """Records as pairs."""
    images = np.stack([record.arrays["image"] for record in records]) / 4095
    return images, np.stack([record.arrays["mask"] for record in records]).astype(np.int64)


def judge(table: Table, task: Task, models: dict[str, list[Record]], seed: int) -> None:
    """Rows of a set: area share and Dice of each label, synthetic beside real and floor."""
    images, truth = task.test
    dealt = task.train[0], np.random.default_rng(seed).permutation(task.train[1])
    numbers = range(1, len(task.labels) + 1)
    lost = f"; the rule finds no two lungs on {task.lost:.0%} of films" if task.lost else ""
    print(f"\n{task.name}: {len(task.train[0])} training pairs, {len(images)} test pairs{lost}")
    print(f"{'':52}" + "".join(f"{f'{label}: area':>16}{'Dice':>8}" for label in task.labels), flush=True)
    sides = {"real training pairs": task.train, "floor: masks dealt to other images": dealt}
    sides |= {name: pairs_of(records) for name, records in models.items()}
    real = np.ones(len(task.labels))
    for name, side in sides.items():
        found = dice(Segmenter(*side, seed)(images), truth, list(numbers))
        real = found if name == "real training pairs" else real
        cells = [f"{np.mean(side[1] == n):>16.3f}{found[n - 1]:>8.3f}" for n in numbers]
        print(f"{name:52}" + "".join(cells), flush=True)
        if name in models:
            for n, label in enumerate(task.labels):
                table.add(f"  {label}, Dice over that of real pairs", float(found[n] / real[n]))


def sheet(path: Path, models: dict[str, list[Record]]) -> None:
    """Twelve drawn pairs of each model: the image, and the image under its mask."""
    rows = []
    for records in models.values():
        pairs = []
        for record in records[:12]:
            plain = np.repeat((record.arrays["image"] / 4095)[..., None], 3, axis=2)
            pairs.append(np.concatenate([plain, overlaid(record)], axis=0))
        rows.append(np.concatenate(pairs, axis=1))
    whole = Image.fromarray((np.concatenate(rows) * 255).astype(np.uint8))
    whole.resize((2 * whole.width, 2 * whole.height), Image.Resampling.NEAREST).save(path)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument(
        "--quick", action="store_true", help="fewer pairs, the cosine model alone unless --models says"
    )
    parser.add_argument(
        "--models", nargs="+", choices=["public", "private", "flow"], help="some of the three"
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="of training of each flow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sheet", type=Path, help="a PNG of drawn pairs, a file a set: NAME-0.png, NAME-1.png"
    )
    options = parser.parse_args()
    table, began = Table(shown=True), time.monotonic()
    for number, task in enumerate(tasks(options.data, options.quick, options.seed)):
        known = {
            "public": ("cosine model, public", "cosine", None),
            "private": (f"cosine model, epsilon {EPSILON:g}", "cosine", EPSILON),
            "flow": (f"flow, public, {options.minutes:g} minutes", "flow", None),
        }
        wanted = options.models or [*known][: 2 if options.quick else 3]
        models = {
            name: drawn(task, model, epsilon, options.minutes, options.seed)
            for name, model, epsilon in (known[one] for one in wanted)
        }
        judge(table, task, models, options.seed)
        if options.sheet:
            sheet(options.sheet.with_stem(f"{options.sheet.stem}-{number}"), models)
    print(f"\n{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
