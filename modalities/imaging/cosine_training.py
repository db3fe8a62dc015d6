"""Train the cosine model, publicly or under a budget."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...core.cohort.disk import write_atomic
from ...core.condition import columns_of, field_of, select
from ...core.config import MaskLabel, parse, read_json
from ...core.dp.budget import PrivacyPlan, noise_for
from ...core.dp.ledger import pay
from ...core.errors import InputError
from ...core.fields import SHIPPED
from ...core.modality import Conditioner, TrainingSet
from ...core.training.weights import Card, Weights
from ...core.types import FloatArray
from .cosine_basis import CosineBasis
from .cosine_model import (
    KIND,
    MEAN_SHARE,
    STORED,
    CosineModel,
    CosineSettings,
    design_columns,
    fit_private,
    fit_public,
    rank_for,
    require_known_classes,
    varying,
)
from .data import channels_of
from .images import Images
from .mask_labels import MASK_LABELS, facts_of
from .model import Shows, scaled

if TYPE_CHECKING:
    from ...core.training.fit import Fit

FILE = "cosine.json"  # of a run's folder


def train(
    data: Sequence[TrainingSet],
    conditioner: Conditioner,
    network: Mapping[str, Any],
    shows: Shows,
    how: "Fit",
    labels: Sequence[MaskLabel] = (),
) -> Weights:
    """The model of all images, or of one image a patient under a budget. Raises InputError before any charge.

    With `labels` an image and its mask are one vector, which is clipped as a whole: a mask is part of the patient's
    record, and costs nothing beside the image.
    """
    settings = parse(CosineSettings, dict(network), "model.network")
    known = [name for part in data for name in part.fields]
    if unknown := set(settings.fields or ()) - set(known):
        raise InputError(
            f"model.network.fields: {', '.join(sorted(unknown))}: not mapped in dataset.yaml; expected some of: "
            f"{', '.join(dict.fromkeys(known)) or 'none'}"
        )
    if shows.slices > 1 or shows.upsampler:
        raise InputError("model.shows: a cosine model draws single images, not enlarged; leave both out")
    fields = known if settings.fields is None else [name for name in known if name in settings.fields]
    images = Images.read(data, settings.size, settings.channels or channels_of(data), len(labels))
    shows.remark_nameless()
    vocabulary = SHIPPED.settle(field for part in images.parts for field in part.vocabulary.declared)
    if settings.fields is None:
        fields = varying(fields, images.profiles, vocabulary)
    require_known_classes(tuple(dict.fromkeys(fields)), images.profiles, vocabulary)
    columns = design_columns(columns_of(conditioner.columns, fields))
    code = select(conditioner.encode(images.profiles), conditioner.columns, columns)
    began = time.monotonic()
    channels = images.pixels.shape[1] - len(labels)
    basis = CosineBasis(settings.size, channels, settings.rank or 1, len(labels))
    model: CosineModel | None
    if how.budget is None:
        rank = settings.rank or rank_for(basis, len(images.profiles), None)
        basis = CosineBasis(basis.size, basis.channels, rank, basis.masks)
        model = fit_public(described(basis, images), code, basis)
        spent: dict[str, Any] = {"privacy": "public"}
    else:
        order = np.random.default_rng(secrets.randbits(63)).permutation(len(images.patients))
        first = order[
            np.unique(np.asarray(images.patients)[order], return_index=True)[1]
        ]  # one of each patient
        noise = noise_for(how.budget, [MEAN_SHARE, 1 - MEAN_SHARE])
        rank = settings.rank or rank_for(basis, len(first), noise[1])
        basis = CosineBasis(basis.size, basis.channels, rank, basis.masks)
        plans = {
            f"imaging, {what}": PrivacyPlan.once(
                len(first), multiplier, how.budget.delta, f"{what} of the cosine model"
            )
            for what, multiplier in zip(("means", "covariance"), noise, strict=True)
        }
        spent = pay(how, plans, "+".join(part.source.name for part in images.parts))
        model = released(how.folder / FILE, basis) if how.resume else None
        if model is None:
            v = described(basis, images)[first]
            model = fit_private(
                v, code[first], columns, basis, noise, np.random.default_rng(secrets.randbits(128))
            )
            keep(model, how.folder / FILE)
    kinds = [vocabulary.field(field_of(column), "model.network.fields").kind for column in columns]
    emphasis = np.array([1.0 if kind == "number" else settings.emphasis for kind in kinds])
    model = model.sharpened(settings.temperature, emphasis)
    shape: dict[str, Any] = {
        "kind": "cosine",
        "size": basis.size,
        "channels": basis.channels,
        "rank": rank,
        "masks": basis.masks,
    }
    shape[MASK_LABELS] = facts_of(labels)
    card = Card(
        name="imaging", modality="imaging", kind=KIND, data=images.used(spent["privacy"]), steps=1,
        seconds=round(time.monotonic() - began), columns=columns, model={**shape, "shows": shows.model_dump()}, **spent,
    )  # fmt: skip
    tensors = {f"{STORED}.{name}": torch.from_numpy(array).float() for name, array in model.tensors().items()}
    return Weights(tensors, card)


def described(basis: CosineBasis, images: Images) -> FloatArray:
    """(row, width) of all images."""
    pixels = images.laid()
    parts = (pixels[i : i + 256] for i in range(0, len(pixels), 256))
    return np.concatenate([basis.describe(scaled(part).numpy()) for part in parts])


def keep(model: CosineModel, path: Path) -> None:
    """What was released once is read again when the run is resumed, never drawn again: that would cost twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: array.tolist() for name, array in model.tensors().items()}
    write_atomic(path, json.dumps(arrays).encode())


def released(path: Path, basis: CosineBasis) -> CosineModel | None:
    """The model that an earlier part of this run released, if it came that far."""
    if not path.exists():
        return None
    arrays = {name: np.asarray(rows) for name, rows in read_json(path.read_text(encoding="utf-8")).items()}
    shape = {"size": basis.size, "channels": basis.channels, "rank": basis.rank, "masks": basis.masks}
    return CosineModel.restore(shape, arrays)
