"""Whether a prior draws images of the kind that the folder holds: what both state, and what features show.

The mean of the feature net's features of the folder's images is compared with that of the prior's draws, in standard
deviations of the draws. Under a budget that mean is a noised release, paid for before anything else is.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from ...core.cohort.disk import write_atomic
from ...core.config import read_json
from ...core.dp.dp_statistics import clip
from ...core.errors import InputError
from ...core.modality import Batch, TrainingSet
from ...core.profile import PatientProfile, seed_for
from ...core.remarks import remark
from ...core.text import say
from ...core.training.weights import Card, Weights
from ...core.types import AnyArray, FloatArray
from .data import channels_of
from .features import shipped
from .formats.kinds import default_kind
from .generator import ImageGenerator
from .metrics import flat, shrink
from .model import network_of
from .subject import Subject

Mismatch = Literal["refuse", "warn", "ignore"]
SHARE = 0.02  # of the budget, as squared signal
DRAWS = 64  # of the prior
LONGEST = (
    3.0  # root mean square of an image's features, in standard deviations of the draws, where it is clipped
)
# Of public images against imaging_prior: chest X-rays of adults .7, of children 1.5; skin 2.5, other organs 2.8 or more
FAR = 2.0
NOISY = 2.0  # standard deviations of noise on each feature, from which on nothing is measured
FILE = "prior_distance.json"  # of a run's folder
PURPOSE = "imaging, mean of features"
OTHER = "OT"  # DICOM's modality of an image that says nothing of its kind
HOW_TO_GO_ON = (
    "start from weights of such images, or leave --init out; `model: {prior_mismatch: warn}` measures it and goes "
    "on, `ignore` goes on without"
)


def require_alike(data: Sequence[TrainingSet], card: Card, mismatch: Mismatch) -> None:
    """Compare the body part, modality and colour that the folder states with those of the prior's card.

    Raises InputError where they differ and mismatches are refused; else a remark says so.
    """
    channels = network_of(card).channels
    prior = Subject.of_card(card)
    drawn = replace(prior, iod=prior.iod or default_kind(channels > 1))
    against: dict[str, None] = {}
    for part in data:
        found = Subject.of_data([part])
        for word, value, expected in (
            ("body part", found.body_part, drawn.body_part), ("modality", found.modality, drawn.modality)
        ):  # fmt: skip
            if value and expected and OTHER not in (expected, value) and value != expected:
                against[f"{word} {value} (the prior: {expected})"] = None
    if (own := channels_of(data)) != channels:
        colours = {1: "grey", 3: "colour"}
        against[f"{colours[own]} images (the prior: {colours[channels]})"] = None
    if not against:
        return
    said = (
        f"--init {card.name}: the prior does not match {data[0].source.name}, which has {', '.join(against)}"
    )
    if mismatch == "refuse":
        raise InputError(f"{said}; {HOW_TO_GO_ON}")
    remark(said)


@dataclass(frozen=True)
class Draws:
    """Mean and standard deviation (feature,) of the prior's draws."""

    mean: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, prior: Weights) -> "Draws":
        """Of DRAWS images of people of whom nothing is known, always the same ones."""
        people = tuple(PatientProfile(patient_id=str(i)) for i in range(DRAWS))
        seeds = tuple(seed_for(0, str(i), "prior check") for i in range(DRAWS))
        code = np.zeros((DRAWS, len(prior.card.columns)), dtype=np.float32)
        generator = ImageGenerator(prior, prior.card.columns)
        images = generator.draw(Batch(people, code, seeds))[: DRAWS * generator.shows.slices]
        found = features_of((images + 1) / 2)
        return cls(found.mean(0), np.maximum(found.std(0), 1e-3))

    def mean_of(self, features: FloatArray) -> FloatArray:
        """(feature,) mean of clipped features (row, feature), in standard deviations of the draws from their mean.

        In units of bound(), one row of n moves it by 1 / n at most.
        """
        rows = (features - self.mean) / self.spread
        return np.asarray(self.bound * clip(rows / self.bound).mean(0))

    @property
    def bound(self) -> float:
        """The greatest length of a row that counts."""
        return LONGEST * math.sqrt(len(self.mean))


def features_of(images: AnyArray) -> FloatArray:
    """(row, feature) of images (row, channel, y, x) in [0, 1]."""
    eight = np.rint(np.moveaxis(images, 1, -1) * 255).astype(np.uint8)
    small = [shrink(flat(image if image.shape[-1] > 1 else image[..., 0])) for image in eight]
    return shipped()(np.stack(small))


@dataclass(frozen=True)
class Distance:
    """Between the means of the images' and the draws' features: root mean square, in standard deviations of the draws.

    `floor` is that of as many images of the prior's distribution.
    """

    value: float
    floor: float

    @classmethod
    def of(cls, mean: FloatArray, patients: int, noise: float = 0.0) -> "Distance":
        """Of a mean as Draws.mean_of has it, less the energy of what noise (a feature's) it holds."""
        return cls(
            math.sqrt(max(0.0, float(np.mean(mean**2)) - noise**2)), math.sqrt(1 / patients + 1 / DRAWS)
        )

    def figures(self) -> dict[str, float]:
        """For the card."""
        return {"prior_distance": self.value, "prior_distance_floor": self.floor}

    def judge(self, name: str, mismatch: Mismatch) -> None:
        """Print the figure, which is a remark where it is far; raises InputError if mismatches are refused then."""
        said = (
            f"--init {name}: the images are {self.value:.2f} standard deviations from the prior's draws, in features "
            f"(images of the prior's own kind: {self.floor:.2f}; from {FAR:g} on another kind of image)"
        )
        if self.value < FAR:
            say(f"polyclinic: {said}", aside=True)
            return
        if mismatch == "refuse":
            raise InputError(f"{said}; {HOW_TO_GO_ON}")
        remark(f"{said}; what is drawn will look like the prior")


def private_distance(
    prior: Weights, pixels: Tensor, noise: float, folder: Path, resume: bool, random: np.random.Generator
) -> Distance:
    """Of one 8-bit image a patient, released once under the noise multiplier; a resumed run reads its release."""
    file = folder / FILE
    count, draws = len(pixels), Draws.of(prior)
    scale = draws.bound * noise / count
    if resume and file.exists():
        mean = np.asarray(read_json(file.read_text(encoding="utf-8"))["mean"])
    else:
        mean = draws.mean_of(features_of(pixels.numpy() / 255))
        mean = mean + scale * random.standard_normal(len(mean))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps({"mean": mean.tolist()}).encode())
    return Distance.of(mean, count, scale)


def public_distance(prior: Weights, pixels: Tensor) -> Distance:
    """Of 8-bit images that cost nothing."""
    return Distance.of(Draws.of(prior).mean_of(features_of(pixels.numpy() / 255)), len(pixels))


def is_measurable(patients: int, noise: float) -> bool:
    """Whether so many patients stand out of the noise; if not, a remark says so."""
    scale = LONGEST * math.sqrt(128) * noise / max(1, patients)
    if scale < NOISY:
        return True
    remark(
        f"imaging: {patients} patients are too few, under this budget, to measure whether the prior matches them"
    )
    return False
