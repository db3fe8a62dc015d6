"""The training images of all data sets in memory, and the card of a public network that learnt from them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ...core.config import Settings
from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.profile import PatientProfile, Value
from ...core.training.fit import Outcome
from ...core.training.weights import Card, DataUsed, Weights, figures, find, load
from ...core.types import BoolArray, FloatArray, IntArray
from .data import options_of, read_slices, to_unit
from .symmetry import Turned, ways_of
from .upsampler import Upsampler, finer, require_upsampler, restored, shrunk


@dataclass(frozen=True)
class Images:
    """Training images as 8-bit (row, channel, y, x), their profiles, and which data set each is of.

    The planes of their masks, one a label, are the last channels.
    """

    pixels: Tensor
    profiles: tuple[PatientProfile, ...]
    places: FloatArray  # in its stack, NaN where it lies in none
    origin: IntArray
    parts: tuple[TrainingSet, ...]

    @classmethod
    def read(cls, data: Sequence[TrainingSet], size: int, channels: int, labels: int = 0) -> "Images":
        """All rows of all sets, with `labels` those that have a mask. Raises InputError."""
        upsamplers = [_upsampler(part, size, channels, labels) for part in data]
        for part in data:
            _require_balance(part)
        read = [_read(part, size, channels, labels, net) for part, net in zip(data, upsamplers, strict=True)]
        return cls(
            torch.from_numpy(np.concatenate([pixels for pixels, _, _ in read])),
            tuple(profile for _, profiles, _ in read for profile in profiles),
            np.concatenate([places for _, _, places in read]),
            np.repeat(np.arange(len(read)), [len(profiles) for _, profiles, _ in read]),
            tuple(data),
        )

    @property
    def patients(self) -> list[str]:
        """Of each row."""
        return [profile.patient_id for profile in self.profiles]

    @property
    def ways(self) -> IntArray:
        """(row,) in how many ways it might lie, by the option `symmetry` of its set."""
        return np.array([ways_of(options_of(part).symmetry) for part in self.parts])[self.origin]

    @property
    def often(self) -> IntArray:
        """(row,) how many times training shows it in one round, by the options `repeat` and `balance` of its set."""
        out = np.zeros(len(self.profiles), dtype=np.int64)
        for i, part in enumerate(self.parts):
            options, rows = options_of(part), np.flatnonzero(self.origin == i)
            out[rows] = options.repeat
            if options.balance is not None:
                name = part.vocabulary.field(options.balance, "options.balance").name
                values = [self.profiles[row].get(name) for row in rows]
                out[rows] *= balanced(values)
        return out

    def examples(self, *others: Tensor) -> Dataset[tuple[Tensor, ...]]:
        """Rows of pixels and others, for training; each time an image lies in one of its ways at random."""
        if self.ways.max(initial=1) > 1:
            return Turned(self.pixels, self.ways, *others)
        return TensorDataset(self.pixels, *others)

    def laid(self) -> Tensor:
        """The pixels, each image in one of its ways at random: what moments are taken of."""
        if self.ways.max(initial=1) == 1:
            return self.pixels
        turned = Turned(self.pixels, self.ways)
        return torch.stack([turned[row][0] for row in range(len(self.pixels))])

    def used(self, spent: str) -> list[DataUsed]:
        """For the card."""
        return [
            DataUsed(
                **vars(part.source),
                rows=int(np.count_nonzero(self.origin == i)),
                patients=len({p for p, o in zip(self.patients, self.origin, strict=True) if o == i})
                if part.records
                else None,
                privacy=spent,
            )
            for i, part in enumerate(self.parts)
        ]

    def public_weights(
        self, name: str, kind: str, net: torch.nn.Module, shape: Settings, outcome: Outcome
    ) -> Weights:
        """Weights of a network that learnt from these images publicly."""
        card = Card(
            name=name, modality="imaging", kind=kind, data=self.used("public"), privacy="public",
            steps=outcome.steps, planned_steps=outcome.planned, seconds=round(outcome.seconds), columns=[],
            model=shape.model_dump(),
            figures=figures(training_loss=outcome.loss),
        )  # fmt: skip
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
        return Weights(tensors, card)


def _require_balance(part: TrainingSet) -> None:
    """Raises InputError where the option `balance` names nothing that a set can be balanced by."""
    name = options_of(part).balance
    if name is None:
        return
    field = part.vocabulary.field(name, f"{part.source.name}: options.balance")
    if field.kind == "number" or len({profile.get(field.name) for profile in part.profiles} - {None}) < 2:
        raise InputError(
            f"{part.source.name}: options.balance: {field.name}: expected a condition or category of which "
            "two values are known; choose another, or leave it out"
        )


def _upsampler(part: TrainingSet, size: int, channels: int, labels: int) -> Upsampler | None:
    """That of the option `enlarge`. Raises InputError where it is not there or draws other images."""
    name = options_of(part).enlarge
    if name is None:
        return None
    if labels:
        raise InputError(f"{part.source.name}: options.enlarge: masks are not enlarged; leave it out")
    require_upsampler(name, channels, f"{part.source.name}: options.enlarge")
    net = restored(load(find(name)))
    if net.size % size or net.size // net.factor >= size:
        raise InputError(
            f"{part.source.name}: options.enlarge: {name} draws images of {net.size} pixels from such of "
            f"{net.size // net.factor}; expected a network of a size between them (model.network), got {size}"
        )
    return net


def _read(
    part: TrainingSet, size: int, channels: int, labels: int, net: Upsampler | None
) -> tuple[NDArray[np.uint8], list[PatientProfile], FloatArray]:
    """Of a set, 8-bit images, profiles and places; finer by an upsampler where there is one."""
    if net is None:
        pixels, profiles, places = read_slices(part, size, channels, labels)
        return to_unit(pixels), profiles, places
    pixels, profiles, places = read_slices(part, net.size // net.factor, channels)
    coarse = to_unit(pixels).astype(np.float32) / 127.5 - 1
    drawn = shrunk(torch.from_numpy(finer(net, coarse, range(len(coarse)))), net.size // size)
    return ((drawn + 1) * 127.5).round().to(torch.uint8).numpy(), profiles, places


def balanced(values: Sequence[Value | None]) -> IntArray:
    """(row,) how many times each row counts so that all known values come up alike often, to whole numbers."""
    counts = Counter(value for value in values if value is not None)
    most = max(counts.values(), default=1)
    return np.array([1 if value is None else round(most / counts[value]) for value in values], dtype=np.int64)


def fits_prior(images: Images) -> BoolArray:
    """(row,) whether its set is one of those with `prior: true`; all where no set says so."""
    chosen = np.array([bool(part.options.get("prior")) for part in images.parts])
    return (chosen if chosen.any() else ~chosen)[images.origin]
