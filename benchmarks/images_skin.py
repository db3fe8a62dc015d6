"""Dermoscopic photographs of the shipped weights against isic2017's test rows: part `skin` of benchmarks/images.py.

All at 64 x 64 pixels in colour, to which drawn and real images are brought alike. A patient is an image there.
`moments` are images of the Gaussian prior and its components without the network, drawn and judged alike.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import images_judges as judges
import numpy as np
from images_cache import Cache
from images_table import Pixels, Table
from numpy.typing import NDArray

from polyclinic import Batch, PatientProfile, ProfileEncoder, seed_for
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.fields import SHIPPED
from polyclinic.core.training.weights import find
from polyclinic.core.training.weights import load as load_weights
from polyclinic.eval.metrics.classifier import cross_fitted
from polyclinic.eval.metrics.structured import frechet
from polyclinic.modalities.imaging.data import read_images
from polyclinic.modalities.imaging.generator import ImageGenerator

MELANOMA, SIDE, EPOCHS, PROBES, MEMBERSHIP = "melanoma", 64, 14, 3, 0.55
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]


def read(data: Path, split: str, size: int) -> tuple[Pixels, list[PatientProfile]]:
    """(image, 3, size, size) in [0, 1], and whose they are."""
    settings, _ = load(TrainConfig, "imaging_skin", "train")
    pixels, profiles = read_images(read_training_set(settings.datasets[0], data, split), size, 3)
    return (pixels / 4095).astype(np.float32), profiles


def shrunk(images: NDArray[np.float32]) -> Pixels:
    """Images (image, 3, y, x) in [-1, 1] as (image, 3, SIDE, SIDE) in [0, 1], by area mean."""
    times = images.shape[2] // SIDE
    return (images.reshape(len(images), 3, SIDE, times, SIDE, times).mean((3, 5)) + 1) / 2


def drawn(
    generator: ImageGenerator, encoder: ProfileEncoder, profiles: Sequence[PatientProfile], seed: int
) -> Pixels:
    """One image of each profile."""
    out = []
    for start in range(0, len(profiles), 64):
        own = tuple(profiles[start : start + 64])
        seeds = tuple(seed_for(seed, f"{start + i}", "skin") for i in range(len(own)))
        out.append(shrunk(generator.draw(Batch(own, encoder.encode(own), seeds))))
    return np.concatenate(out).astype(np.float32)


def moments(
    generator: ImageGenerator, encoder: ProfileEncoder, profiles: Sequence[PatientProfile], seed: int
) -> Pixels:
    """The same of the Gaussian prior and the components below it, without the network."""
    import torch

    code = encoder.encode(tuple(profiles))[:, [encoder.columns.index(c) for c in generator.card.columns]]
    out = []
    for row, (profile, known) in enumerate(zip(profiles, code, strict=True)):
        random = np.random.default_rng(seed_for(seed, str(row), "moments"))
        weights = random.standard_normal(generator.shape.components)
        assert generator.prior is not None
        weights[: generator.prior.rank] = generator.prior.draw(profile, known, random)
        white = torch.zeros(1, 3, generator.shape.size, generator.shape.size)
        with torch.no_grad():
            source = generator.net.source(white, torch.from_numpy(weights).float()[None])
        out.append(shrunk(source.clamp(-1, 1).numpy()))
    return np.concatenate(out).astype(np.float32)


def planes(space: judges.FeatureSpace, images: Pixels) -> NDArray[np.float64]:
    """(image, number): features of the medical net of each colour plane."""
    return np.hstack([space(images[:, plane]) for plane in range(3)])


def melanoma(profiles: Sequence[PatientProfile]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Rows of which it is known, and whether they have it."""
    known = np.flatnonzero([p.get(MELANOMA) is not None for p in profiles])
    return known, np.array([profiles[i].has(MELANOMA) for i in known])


def probed(x: Pixels, y: NDArray[np.bool_], on: Pixels) -> NDArray[np.float64]:
    """(probe, image) scores of small CNNs."""
    return np.stack([judges.convolutional(x, y, on, seed, EPOCHS) for seed in range(PROBES)])


def colour_spread(images: Pixels) -> float:
    """Standard deviation over images of their mean colour, mean of three planes."""
    return float(images.mean((2, 3)).std(0).mean())


def skin(table: Table, data: Path, quick: bool, seed: int, cache: Cache) -> None:
    """All rows."""
    weights = load_weights(find("imaging-skin"))
    encoder = ProfileEncoder.of(SHIPPED, ["imaging-skin"])
    generator = ImageGenerator(weights, encoder.columns)
    space = judges.FeatureSpace(find("imaging_features"))
    train, owners = read(data, "train", SIDE)
    test, judged = read(data, "test", SIDE)
    synthetic = cache("imaging-skin", lambda: drawn(generator, encoder, owners, seed), "skin drawn", seed)
    gaussian = cache("imaging-skin", lambda: moments(generator, encoder, owners, seed), "skin moments", seed)
    table.head(
        f"Skin, {len(owners)} photographs of the train rows' profiles against {len(test)} test rows, seed {seed}"
    )
    rows, asked = melanoma(owners)
    judged_rows, truth = melanoma(judged)
    held = test[judged_rows]
    judged_by = [
        cache.of_real(partial(judges.learnt, train[rows], asked, k, EPOCHS), "isic2017", SIDE, k, EPOCHS)
        for k in range(PROBES)
    ]
    real = np.stack([judges.scores(probe, np.concatenate([held, synthetic[rows]])) for probe in judged_by])
    floor = judges.mean_auroc(real[:, : len(held)], truth)
    for name, images, bar in (("synthetic", synthetic, 0.95), ("moments", gaussian, None)):
        own = cache("imaging-skin", partial(probed, images[rows], asked, held), "skin own", name, seed)
        found = judges.mean_auroc(own, truth)
        table.add(
            f"train on {name}, test on real: melanoma, AUROC over that of real ({floor:.3f})", found / floor, 1.0, bar,
            interval=judges.ratio_interval(own, real[:, : len(held)], truth),
        )  # fmt: skip
    recovered = judges.mean_auroc(real[:, len(held) :], asked)
    table.add("probe trained on real finds melanoma in synthetic, AUROC", recovered, floor)
    random = np.random.default_rng(seed)
    some = random.permutation(len(owners))[: len(test)]
    target, features_of_test = planes(space, test), judges.described(test)
    distance = frechet(target, planes(space, train[some]))
    for name, images, most, limit in (("synthetic", synthetic, 0.80, 3.0), ("moments", gaussian, None, None)):
        table.add(
            f"told apart by a forest: {name}, AUC", auc_of(features_of_test, judges.described(images[some]), seed),
            auc_of(features_of_test, judges.described(train[some]), seed), most=most,
        )  # fmt: skip
        times = frechet(target, planes(space, images[some])) / distance
        table.add(f"FID of {name}, times that of real train rows", times, 1.0, most=limit)
    spread = colour_spread(test)
    table.add(
        "colour spread of synthetic, off that of real, share", abs(colour_spread(synthetic) / spread - 1),
        abs(colour_spread(train) / spread - 1), most=0.05,
    )  # fmt: skip
    near = judges.nearest_rank_correlation((synthetic * LUMA).sum(1), (train * LUMA).sum(1))
    table.add("share with rank correlation 0.99 to a training image", float((near >= 0.99).mean()), most=0)
    told = judges.membership((synthetic, owners), (train, owners), (test, judged), seed)
    table.add("membership of an image, the greater AUC of two attacks", told, 0.5, most=MEMBERSHIP)


def auc_of(real: NDArray[np.float64], synthetic: NDArray[np.float64], seed: int) -> float:
    """Of a forest that has not seen the rows which it judges."""
    high, low = reversed(cross_fitted(real, synthetic, seed))
    return judges.auroc(np.concatenate([high, low]), np.repeat([True, False], [len(high), len(low)]))
