"""What steered X-rays are good for, and what gives them away: called by benchmarks/images.py, part `use`.

Few real: a CNN for sex or view learns from few patients of cxr_nih, with and without synthetic X-rays, and is judged on
test patients, as they are and degraded as another device would. No lungs: a CNN learns to tell real X-rays from the
same with their lungs filled in. At 256 pixels: a CNN separates enlarged images from those of cxr_kermany.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import images_judges as judges
import numpy as np
from images_cache import Cache
from images_table import ENCODER, Pixels, Table, drawn, read, shrunk
from masks import lungs
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, zoom

from polyclinic import PatientProfile
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.training.weights import find
from polyclinic.core.training.weights import load as load_weights
from polyclinic.modalities.imaging.data import read_images
from polyclinic.modalities.imaging.generator import ImageGenerator

Label = Callable[[PatientProfile], bool]
LABELS: dict[str, Label] = {
    "sex": lambda p: p.sex == "F",
    "AP view": lambda p: p.traits.get("chest_view") == "AP",
}
FINDINGS = {"effusion": "J90", "cardiomegaly": "I51.7", "pneumonia": "J18.9"}
MEMBERSHIP, LARGE = 0.55, 256
FALSE_ALARMS = 0.02  # of the detector of missing lungs, on train images that it has not seen


def degraded(images: Pixels, random: np.random.Generator) -> Pixels:
    """As another device would show them: gamma, blur, a crop, a black border, each by chance."""
    out = []
    for image in images.astype(np.float64):
        side = len(image)
        changed = image ** np.exp(random.uniform(-0.5, 0.5))
        changed = gaussian_filter(changed, random.uniform(0, 0.9))
        cut = int(random.integers(0, side // 10 + 1))
        top, left = random.integers(0, cut + 1, 2)
        kept = changed[top : top + side - cut, left : left + side - cut]
        changed = zoom(kept, side / len(kept), order=1)[:side, :side]
        if random.random() < 0.3:
            border = int(random.integers(1, side // 16 + 1))
            changed[:border] = changed[-border:] = changed[:, :border] = changed[:, -border:] = 0
        out.append(changed)
    return np.stack(out).clip(0, 1).astype(np.float32)


def gains(
    train: Pixels, owners: Sequence[PatientProfile], test: Pixels, judged: Sequence[PatientProfile],
    synthetic: Pixels, asked: Sequence[PatientProfile], patients: Sequence[int], seeds: Sequence[int], cache: Cache,
    drawn_from: int,
) -> dict[tuple[int, str, str], tuple[float, float]]:  # fmt: skip
    """(real patients, label, films) -> mean over seeds of the AUROC of real alone, and of what synthetic X-rays add.

    `drawn_from` is the seed of the synthetic ones.
    """
    ids = np.array([p.patient_id for p in owners])
    films = {"test": test, "degraded": degraded(test, np.random.default_rng(0))}
    found: dict[tuple[int, str, str], list[tuple[float, float]]] = {}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(np.unique(ids))
        for number in patients:
            rows = np.flatnonzero(np.isin(ids, order[:number]))
            for name, label in LABELS.items():
                own = np.array([label(owners[i]) for i in rows])
                truth = np.array([label(p) for p in judged])
                more = np.array([label(p) for p in asked])
                epochs = max(12, 6000 // len(rows))  # as many steps for few images as for many
                both = np.concatenate([train[rows], synthetic])
                stacked = np.concatenate(list(films.values()))
                probe = cache.of_real(
                    partial(judges.learnt, train[rows], own, seed, epochs), "few", number, name, seed, epochs
                )
                alone = judges.scores(probe, stacked)
                helped = cache(
                    "imaging",
                    partial(judges.convolutional, both, np.concatenate([own, more]), stacked, seed, 12),
                    "helped", number, name, seed, drawn_from,
                )  # fmt: skip
                for place, kind in enumerate(films):
                    part = slice(place * len(test), (place + 1) * len(test))
                    before, after = (judges.auroc(scores[part], truth) for scores in (alone, helped))
                    found.setdefault((number, name, kind), []).append((before, after - before))
    return {
        key: (float(np.mean([b for b, _ in v])), float(np.mean([g for _, g in v])))
        for key, v in found.items()
    }


def without_lungs(image: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The same X-ray with both lungs filled in from their edges; None where the rule of masks.py finds none."""
    found = lungs(image)
    if found is None:
        return None
    hole = binary_dilation(found > 0, iterations=3)
    filled = np.where(hole, np.percentile(image[~hole], 70), image)
    for _ in range(60):  # heat flows in from the edge
        filled = np.where(hole, gaussian_filter(filled, 2.0), image)
    return filled


def lungless(
    train: Pixels, owners: Sequence[PatientProfile], others: dict[str, Pixels], cache: Cache
) -> dict[str, float]:
    """The share of others' images that a CNN takes for X-rays without lungs, at FALSE_ALARMS on held-back ones."""
    ids = np.array([p.patient_id for p in owners])
    names = np.random.default_rng(0).permutation(np.unique(ids))
    taught = np.isin(ids, names[: 2 * len(names) // 3])
    made = [without_lungs(image.astype(np.float64)) for image in train[taught]]
    fake = np.stack([image for image in made if image is not None]).astype(np.float32)
    x = np.concatenate([train[taught], fake])
    y = np.repeat([0.0, 1.0], [int(taught.sum()), len(fake)])
    sides = [train[~taught], *others.values()]
    detector = cache.of_real(lambda: judges.learnt(x, y, 0, 12), "no lungs")
    scores = judges.scores(detector, np.concatenate(sides))
    parts = np.split(scores, np.cumsum([len(side) for side in sides])[:-1])
    limit = np.quantile(parts[0], 1 - FALSE_ALARMS)
    return {name: float((part > limit).mean()) for name, part in zip(others, parts[1:], strict=True)}


def apart(a: Pixels, b: Pixels, seed: int = 0) -> float:
    """AUC of a CNN that learnt from two thirds of each side and separates the rest."""
    half = [2 * len(side) // 3 for side in (a, b)]
    x = np.concatenate([a[: half[0]], b[: half[1]]])
    y = np.repeat([1.0, 0.0], half)
    rest = np.concatenate([a[half[0] :], b[half[1] :]])
    truth = np.repeat([True, False], [len(a) - half[0], len(b) - half[1]])
    return judges.auroc(judges.convolutional(x, y, rest, seed, 8), truth)


def use(table: Table, data: Path, quick: bool, seed: int, cache: Cache) -> None:
    """The part `use`, of the weights in force."""
    weights = load_weights(find("imaging"))
    train, owners = read("imaging", "cxr_nih", data, "train")
    test, judged = read("imaging", "cxr_nih", data, "test")
    synthetic = cache(
        "imaging", lambda: drawn(ImageGenerator(weights, ENCODER.columns), owners, seed), "use", seed
    )
    table.head(
        f"Findings that a probe trained on real X-rays reads from {len(owners)} synthetic ones, seed {seed}"
    )
    for name, code in FINDINGS.items():
        y, truth = (np.array([bool(p.has(code)) for p in group]) for group in (owners, judged))
        probe = cache.of_real(lambda y=y: judges.learnt(train, y, seed, 12), "cxr_nih", name, seed, 12)  # type: ignore[misc]
        scores = judges.scores(probe, np.concatenate([test, synthetic]))
        real = judges.auroc(scores[: len(test)], truth)
        table.add(
            f"{name}, AUROC ({truth.sum()} of {len(truth)} test)",
            judges.auroc(scores[len(test) :], y),
            real,
            real,
        )

    table.head(
        f"What {len(owners)} synthetic X-rays add to the AUROC of few real ones (floor: real alone), seed {seed}"
    )
    patients = (50, 211) if quick else (50, 100, 211)
    found = gains(
        train, owners, test, judged, synthetic, owners, patients, range(2 if quick else 5), cache, seed
    )
    for (number, name, films), (alone, gain) in found.items():
        bar = 0.01 if number == 50 and films == "test" else -0.005
        table.add(f"{number} patients, {name}, {films} films: gain", gain, alone, bar)

    table.head(f"X-rays that a CNN takes for ones without lungs, of 1, seed {seed}")
    shares = lungless(train, owners, {"test": test, "synthetic": synthetic}, cache)
    table.add("synthetic", shares["synthetic"], shares["test"])

    table.head(f"Membership of cxr_nih's train patients, the greater AUC of two attacks, seed {seed}")
    told = judges.membership((synthetic, owners), (train, owners), (test, judged), seed)
    table.add("two attacks on the X-rays alone", told, 0.5, most=MEMBERSHIP)

    real, people = _large(data, seed)
    table.head(
        f"Told apart by a CNN at {LARGE} pixels from {len(real)} of cxr_kermany's test films, AUC, seed {seed}"
    )
    finer = ImageGenerator(
        weights, ENCODER.columns, load_weights(find(weights.card.model["shows"]["upsampler"]))
    )

    def enlarged() -> Pixels:
        small = shrunk(real, finer.shape.size)
        again = finer.enlarged(small[:, None] * 2 - 1, range(seed, seed + len(small)))[:, 0]
        return ((again + 1) / 2).astype(np.float32)

    for name, make, floor, most in (
        (f"the same films shrunk to {finer.shape.size} pixels and enlarged", enlarged, None, None),
        ("X-rays drawn for their age and finding", lambda: drawn(finer, people, seed, LARGE), 0.5, 0.85),
    ):
        told = cache("imaging", lambda make=make: np.array(apart(real, make(), seed)), name, len(real), seed)  # type: ignore[misc]
        table.add(name, float(told), floor, most=most)


def _large(data: Path, seed: int) -> tuple[Pixels, list[PatientProfile]]:
    """cxr_kermany's test films at LARGE x LARGE in [0, 1], in random order."""
    settings, _ = load(TrainConfig, "imaging", "train")
    chosen = next(d for d in settings.datasets if d.name == "cxr_kermany")
    films = read_training_set(chosen, data, "test")
    rows = np.random.default_rng(seed).permutation(len(films))
    pixels, people = read_images(films.at(rows.tolist()), LARGE)
    return (pixels[:, 0] / 4095).astype(np.float32), people
