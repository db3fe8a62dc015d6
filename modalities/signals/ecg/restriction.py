"""Restriction: ECG weights made into weights of fewer leads, or of leads of other names, by drawing from them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ....core.condition import field_of, select
from ....core.config import parse
from ....core.errors import InputError
from ....core.fields import Vocabulary
from ....core.modality import Conditioner
from ....core.profile import PatientProfile, Value
from ....core.remarks import remark
from ....core.training.weights import Weights
from ....core.types import FloatArray
from ..layout import RATE
from ..leads import LIMB, Leads, leads_in, noted
from .beats import decompose
from .ectopic import EctopicModel
from .morphology import LEAST, WAVES, Morphology, MorphologyModel, MorphologySpace
from .noise import measure, of_leads
from .rhythm import Beat
from .sampler import EcgModel
from .trace import blocks, first_samples

DRAWS, MEASURED = 2000, 160  # morphologies drawn, and of these the ones whose traces are measured
KEPT = 0.998  # of the variance of a wave's shape, and of the noise
RIDGE, SHRINK = 1.0, 0.02
PRESENT = 0.15  # of the drawn patients have a condition
SAMPLES = 10 * RATE


def restricted(
    weights: Weights, leads: Leads, conditioner: Conditioner, known: Vocabulary, seed: int
) -> Weights:
    """The weights for these leads: themselves where they have just these.

    Morphologies are drawn from the weights for made-up patients and turned into the leads; a model is fitted to them.
    No data are looked at. A lead of an unknown name begins as the standard lead that stands for it, which is remarked.
    Raises InputError for a lead that the weights do not have.
    """
    before = leads_in(weights.card.model)
    if before.names == leads.names:
        return weights
    turn = _weights_of(before, leads)
    rng = np.random.default_rng([seed, 7])
    columns, devices = weights.card.columns, len(weights.card.model["recorders"])
    patients = [_patient(rng, columns, known) for _ in range(DRAWS)]
    code = select(conditioner.encode(patients), conditioner.columns, columns)
    code = np.concatenate(
        [code, np.eye(devices, dtype=np.float32)[rng.integers(devices, size=DRAWS)]], axis=1
    )
    model = MorphologyModel.of(weights.tensors)
    whole = [model.draw(rng, row) for row in code]
    drawn = [Morphology(turn @ m.beat, m.fiducials, of_leads(m.noise, turn)) for m in whole]
    beats, noises = [m.beat for m in drawn], [m.noise for m in drawn]
    shape = parse(EcgModel, weights.card.model.get("network"), f"weights {weights.card.name}: model.network")
    counts = {name: getattr(shape, name) for name in (*WAVES, "noise")}
    space = MorphologySpace.of(beats, noises, counts, KEPT)
    scores = space.scores(beats, noises)
    fitted = MorphologyModel.fit(space, scores, scores, code, RIDGE, SHRINK)
    errors = np.stack([_error(space, row, rng) for row in scores[:MEASURED]])
    trimmed = np.clip(errors, *np.quantile(errors, [0.05, 0.95], axis=0))
    true = np.square((fitted.quantiles[-10] - fitted.quantiles[9]) / 2) + 1e-9
    fitted = replace(
        fitted, bias=np.median(errors, axis=0), reliability=np.clip(true / (true + trimmed.var(0)), LEAST, 1)
    )
    tensors = fitted.tensors()
    if (ectopic := EctopicModel.of(weights.tensors)) is not None:
        size = np.mean([_size(m.beat) / _size(d.beat) for m, d in zip(whole, drawn, strict=True)])
        tensors |= ectopic.of_leads(turn * size).tensors()
    kept = {key: value for key, value in weights.card.model.items() if key != "leads"}
    return Weights(tensors, weights.card.model_copy(update={"model": {**kept, **noted(leads)}}))


def _weights_of(before: Leads, after: Leads) -> FloatArray:
    """(free lead of after, free lead of before). Raises InputError."""
    rows = np.zeros((len(after.free), len(before.free)))
    for row, name in zip(rows, after.free, strict=True):
        source = name if name in before.free else after.stand_ins.get(name, name)
        if source != name:
            remark(
                f"{name} is no standard lead: the public ECGs' lead {source} stands for it before training"
            )
        if source in before.free:
            row[before.free.index(source)] = 1
        elif source in LIMB and before.has_axis:
            row[:2] = LIMB[source]
        else:
            raise InputError(
                f"the weights to start from have the leads {', '.join(before.names)}, not {source}; take leads of them "
                "(`options: {leads: [NAME]}`), or start from --init ecg, which has twelve"
            )
    return rows


def _patient(rng: np.random.Generator, columns: list[str], known: Vocabulary) -> PatientProfile:
    """A made-up patient of whom every field of these columns is known."""
    values: dict[str, Value] = {}
    for name in dict.fromkeys(map(field_of, columns)):
        field = known.field(name, "weights")
        if field.kind == "flag":
            values[name] = bool(rng.uniform() < PRESENT) and field.sex is None
        elif field.kind == "category":
            values[name] = str(rng.choice(field.classes))
        else:
            low, high = USUAL.get(name, (field.low, field.high))
            values[name] = float(rng.uniform(low, high))
    return known.with_values(PatientProfile("made-up"), values, "weights")


USUAL = {"age": (18.0, 92.0), "height": (148.0, 195.0), "weight": (45.0, 125.0), "heart_rate": (48.0, 125.0)}


def _error(space: MorphologySpace, scores: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(score,) what measuring a trace of that morphology adds to its scores."""
    interval = 60 / rng.uniform(55, 95)
    times = np.cumsum(interval * (1 + 0.03 * rng.standard_normal(60))) - 2 * interval
    beats: Iterator[Beat] = (Beat(float(a), float(b - a)) for a, b in pairwise(times))
    trace, inside = first_samples(blocks(rng, space.morphology(scores), beats), SAMPLES)
    peaks = np.array([round(beat.at * RATE) for beat in inside if beat.at >= 0], dtype=np.int64)
    part = decompose(trace, peaks)
    return np.asarray(space.scores([part.beat], [measure(part)])[0] - scores)


def _size(beat: FloatArray) -> float:
    return float(np.sqrt(np.square(beat).mean()))
