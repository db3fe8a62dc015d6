"""Draw X-rays from trained weights: the Gaussian prior, the flow, the public upsampler."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.condition import field_of, select
from ...core.errors import InputError
from ...core.extras import need
from ...core.fields import BY_NAME, Field
from ...core.identity import identified
from ...core.modality import Batch, Record
from ...core.profile import PatientProfile
from ...core.training.weights import Weights, restore
from ...core.types import AnyArray, Float32Array
from . import gaussian_prior, histogram_matching, stack
from .cosine_model import KIND, STORED, CosineModel
from .export import MASKS
from .formats.kinds import KINDS, check_kind, default_kind, stored
from .frame import FULL_SCALE
from .gaussian_prior import GaussianPrior
from .histogram_matching import HistogramMatching
from .inference import ready
from .mask_labels import facts_of, mask_labels_of
from .mask_training import require_masks_fit
from .masks import labelled
from .metrics import WORDS
from .model import EVALUATIONS, Denoiser, ImageModel, Shows, network_of, network_tensors, shows_of
from .sampler import draw
from .subject import Subject
from .upsampler import finer, restored

STEPS, GUIDANCE = 8, 1.0
# Factors of the prior's regression on a field: with 1, a probe finds less of it in drawn images than in real ones
OF_A_NEWBORN, GROWN = 0.45, 18  # share of an adult's field of view, which grows to this age, in years
EMPHASIS = {"sex": 1.5, "chest_view": 1.5}


class ImageGenerator:
    """Draws images from the weights of a flow, and finer with those of an upsampler.

    iod is the kind of DICOM object that records ask for; None is what the card says. settings are those of the
    files, which UIDs follow. Without `masks` a model of images and masks draws the images alone. Raises InputError
    where the object cannot hold the images.
    """

    def __init__(
        self,
        weights: Weights,
        columns: Sequence[str],
        upsampler: Weights | None = None,
        iod: str | None = None,
        settings: Mapping[str, Any] | None = None,
        masks: bool = True,
    ) -> None:
        self.card, self.columns = weights.card, columns
        self.cosine: CosineModel | None = None
        if weights.card.kind == KIND:
            self.cosine = CosineModel.restore(weights.card.model, weights.arrays(STORED))
            basis = self.cosine.basis
            self.shape = ImageModel(size=basis.size, channels=basis.channels, masks=basis.masks)
        else:
            self.shape = network_of(weights.card)
        self.shows, self.subject = shows_of(weights.card), Subject.of_card(weights.card, iod)
        self.iod = iod or self.shows.iod or default_kind(self.shape.channels > 1)
        check_kind(self.iod, self.shape.channels > 1, self.shows.slices, self.shows.body_part)
        self.settings = settings or {}
        self.labels = mask_labels_of(weights.card) if masks else ()
        require_masks_fit(self.shows.model_copy(update={"iod": self.iod}), self.labels)
        if self.labels:
            need(MASKS, "highdicom")
        if self.cosine is None:
            self.net = Denoiser(len(weights.card.columns), self.shape)
            restore(self.net, Weights(network_tensors(weights), weights.card))
            ready(self.net.unet)
        self.prior = None
        if header := weights.card.model.get(gaussian_prior.STORED):
            self.prior = GaussianPrior.restore(header, weights.arrays(gaussian_prior.STORED))
        maps = weights.arrays(histogram_matching.STORED)
        self.matching = HistogramMatching.restore(maps) if maps else None
        self.upsampler, self.finer = None, ""
        if upsampler is not None:
            self.upsampler = restored(upsampler)
            if self.upsampler.channels != self.shape.channels:
                raise InputError(
                    f"weights {upsampler.card.name}: enlarge images of {self.upsampler.channels} channel(s), "
                    f"{weights.card.name} draws {self.shape.channels}; name others in model.shows.upsampler"
                )
            ready(self.upsampler)
            self.finer = f", enlarged {self.upsampler.factor} times by weights {upsampler.card.name}"
        self.by = "a diffusion model" if self.cosine is None else "a model of cosine coefficients"

    def sample(self, batch: Batch) -> list[Record]:
        """One image or series a row: `image` (row, column) uint16 of 12 bits, bright = dense; (slice, row, column)
        of the same; or (row, column, 3) uint8. Models of masks add `mask`, (row, column) or (slice, row, column) uint8:
        0, or a pixel's label, whose names the fact `mask_labels` lists from 1.
        """
        images, covers = self._both(batch)
        shape = (len(batch), self.shows.slices)
        stacks, masked = (part.reshape(*shape, *part.shape[1:]) for part in (images, covers))
        rows = zip(stacks, masked, batch.profiles, batch.seeds, strict=True)
        return [
            self._record(planes, cover, profile, seed, batch.declared)
            for planes, cover, profile, seed in rows
        ]

    def _record(
        self,
        planes: Float32Array,
        cover: Float32Array,
        profile: PatientProfile,
        seed: int,
        declared: Sequence[Field],
    ) -> Record:
        grey = [stored(levels(plane), self.iod) for plane in planes]
        arrays: dict[str, AnyArray] = {"image": grey[0] if len(grey) == 1 else np.stack(grey)}
        if self.labels:
            found = [labelled(plane, planes.shape[-1] // plane.shape[-1]) for plane in cover]
            arrays["mask"] = found[0] if len(found) == 1 else np.stack(found)
        study = {"iod": self.iod, "body_part": self.shows.body_part, **self._background(profile, declared)}
        facts = {**self._facts(profile, planes.shape[-1]), **study, **self.subject.facts()}
        record = Record(arrays, facts | ({"mask_labels": facts_of(self.labels)} if self.labels else {}))
        return identified(record, profile, seed, study, self.settings)

    def draw(self, batch: Batch) -> Float32Array:
        """(row, channel, y, x) in [-1, 1]; of a series, (row and slice, channel, y, x), slice by slice."""
        return self._both(batch)[0]

    def _both(self, batch: Batch) -> tuple[Float32Array, Float32Array]:
        """draw(), and (row, label, y, x) planes of the masks at the size that the model draws."""
        drawn = self._planes(batch)
        images, covers = drawn[:, : self.shape.channels], drawn[:, self.shape.channels :]
        if self.matching is not None:
            matched = [self.matching((image.astype(np.float64) + 1) / 2) for image in images]
            images = np.stack(matched).astype(np.float32) * 2 - 1
        if self.upsampler is not None:
            seeds = np.repeat(np.array(batch.seeds, dtype=object), self.shows.slices)
            images = self.enlarged(images, seeds.tolist())
        return images, covers

    def _planes(self, batch: Batch) -> Float32Array:
        """Images and masks as the model draws them."""
        code = select(batch.condition, self.columns, self.card.columns)
        profiles, seeds = batch.profiles, batch.seeds
        if self.cosine is not None:
            drawn = [self.cosine.draw(row, seed) for row, seed in zip(code, seeds, strict=True)]
            return np.stack(drawn).astype(np.float32)
        places: list[float] | None = None
        if (count := self.shows.slices) > 1:
            place = np.tile(stack.spaced(count), len(batch))
            places = place.tolist()
            code = np.repeat(code, count, axis=0)
            code[:, [self.card.columns.index(column) for column in stack.COLUMNS]] = stack.code_of(place)
            profiles = tuple(profile for profile in profiles for _ in range(count))
            seeds = tuple(seed for seed in seeds for _ in range(count))
        coarse = None
        if self.prior is not None:
            factors = np.array(
                [EMPHASIS.get(c.partition("=")[0], 1.0) for c in self.card.columns], dtype=np.float32
            )
            coarse = np.stack(
                [
                    self.prior.draw(profile, row, np.random.Generator(np.random.PCG64(seed)))
                    for profile, row, seed in zip(profiles, code * factors, seeds, strict=True)
                ]
            )
        few = self.card.model.get(EVALUATIONS)
        return draw(
            self.net,
            code,
            seeds,
            self.shape,
            coarse,
            few or STEPS,
            GUIDANCE,
            places=places,
            jumps=few is not None,
        )

    def enlarged(self, images: Float32Array, seeds: Sequence[int]) -> Float32Array:
        """Images (row, channel, y, x) in [-1, 1] as the upsampler draws them, each from its own seed."""
        assert self.upsampler is not None
        return finer(self.upsampler, images, seeds)

    def _background(self, profile: PatientProfile, declared: Sequence[Field]) -> dict[str, Any]:
        """Coded diagnoses that the patient has and that the image was not drawn by: those would give its label away.

        What ships is an admitting diagnosis, what was declared a reason for the visit.
        """
        drawn = {field_of(column) for column in self.card.columns}
        facts = {}
        for name, fields in (("admitting_diagnoses", BY_NAME.values()), ("diagnoses", declared)):
            has = [f for f in fields if f.kind == "flag" and profile.has(f.name) and f.name not in drawn]
            codes = [
                [scheme, field.codes[system], field.label.replace("\\", "/")[:64].strip()]
                for field in has
                if name == "admitting_diagnoses" or field.name not in BY_NAME
                for system, scheme in (("icd10cm", "I10C"), ("snomed", "SCT"))
                if system in field.codes
            ]
            if codes:
                facts[name] = codes
        return facts

    def _extent(self, profile: PatientProfile) -> float:
        """The side of the field of view, mm: the usual one is an adult's, and that of a child's chest is smaller."""
        extent, age = self.shows.extent_mm, profile.age
        if extent != Shows().extent_mm or age is None or not self.subject.is_radiograph_of_chest:
            return extent
        return extent * min(1.0, OF_A_NEWBORN + (1 - OF_A_NEWBORN) * age / GROWN)

    def _facts(self, profile: PatientProfile, size: int) -> dict[str, Any]:
        series: dict[str, Any] = {}
        holds = KINDS[self.iod]
        if holds.series and (self.shows.slices > 1 or not holds.frames):
            series["plane"] = self.shows.plane
            if self.shows.slice_spacing_mm:
                series["slice_spacing_mm"] = self.shows.slice_spacing_mm
        if self.iod == "CT" and self.shows.hounsfield:
            series["hounsfield"] = list(self.shows.hounsfield)
        if self.shows.laterality:
            series["laterality"] = self.shows.laterality
        noun = "image"
        if self.shows.slices > 1:
            if not holds.frames:
                series["slices"] = self.shows.slices
            noun = f"series of {self.shows.slices} slices"
        return {
            "findings": [code for code in WORDS if self.subject.is_chest and profile.has(code)],
            "view": self.shows.view
            or (profile.traits.get("chest_view") if self.subject.is_radiograph_of_chest else None),
            "pixel_spacing_mm": round(self._extent(profile) / size, 4),
            "derivation": f"Synthetic {noun} drawn by {self.by} at {self.shape.size} x {self.shape.size}"
            f" pixels (weights {self.card.name}, {self.card.privacy}){self.finer}",
            **series,
        }


def levels(image: Float32Array) -> AnyArray:
    """(1, y, x) in [-1, 1] -> (y, x) uint16 of 12 bits; (3, y, x) -> (y, x, 3) uint8."""
    share = (image.astype(np.float64) + 1) / 2
    if len(image) == 1:
        return np.rint(share[0] * FULL_SCALE).astype(np.uint16)
    return np.moveaxis(np.rint(share * 255), 0, -1).astype(np.uint8)
