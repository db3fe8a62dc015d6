"""Weights on disk: one safetensors file a model, its card in the file's own metadata."""

import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from ..cohort.disk import write_atomic
from ..config import Settings, read_json
from ..device import in_force
from ..errors import InputError, first_line
from ..fields import Declaration
from ..fields import Field as ProfileField
from ..instance_name import named as instance_named
from ..instance_name import stem_of
from ..paths import file_name, require_file
from ..types import Float32Array, FloatArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

METADATA_KEY = "polyclinic"
_named: ContextVar[Mapping[str, Path]] = ContextVar("weights named by the user", default=MappingProxyType({}))
_label: ContextVar[str] = ContextVar("instance whose weights go before the others", default="")


class DataUsed(Settings):
    """One data set that a model has seen."""

    name: str
    licence: str
    citation: str = ""
    rows: int = Field(ge=0)
    patients: int | None = Field(ge=0)  # None: the set does not say
    split: str = "train"
    privacy: str  # "public", or what the card says


class Card(Settings):
    """What a reader must know of a model before using it."""

    name: str
    modality: str
    kind: str
    data: list[DataUsed]
    privacy: str  # "public", or "epsilon E, delta D, patient level"
    epsilon: float | None = Field(default=None, gt=0)
    delta: float | None = Field(default=None, gt=0, lt=1)
    steps: int = Field(ge=0)
    planned_steps: int | None = Field(
        default=None, ge=0
    )  # more than `steps` where --max-minutes ended the training; None: all
    seconds: float = Field(default=0.0, ge=0)
    columns: list[str]  # of the condition, as the model was trained with
    model: dict[str, Any]
    figures: dict[str, float] = Field(default_factory=dict)
    version: str = ""
    notes: str = ""
    mechanisms: list[tuple[float, float, int]] = Field(
        default_factory=list
    )  # sample rate, noise multiplier and steps of each, where later training may be added to
    reading: list[str] = Field(default_factory=list)  # what was dropped or changed on reading the data
    declared: dict[str, Declaration] = Field(default_factory=dict)  # fields beyond the shipped vocabulary
    distributions: dict[str, dict[str, Any]] = Field(default_factory=dict)  # of them in the training patients

    @property
    def complete(self) -> bool:
        """Whether the training came to its planned end."""
        return self.planned_steps is None or self.steps >= self.planned_steps

    @property
    def declared_fields(self) -> list[ProfileField]:
        """The declared fields that the model's columns code."""
        return [ProfileField.of(name, declaration) for name, declaration in self.declared.items()]


def figures(**values: float) -> dict[str, float]:
    """Figures of a card, rounded; one that is not a number (nothing was left to train) is left out."""
    return {name: round(value, 5) for name, value in values.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and the card."""

    tensors: Mapping[str, "Tensor"]
    card: Card

    def arrays(self, prefix: str) -> dict[str, FloatArray]:
        """float64 arrays of the tensors named `prefix.name`, by name; empty if there are none."""
        start = f"{prefix}."
        found = {k.removeprefix(start): t for k, t in self.tensors.items() if k.startswith(start)}
        return {name: tensor.double().numpy() for name, tensor in found.items()}

    def save(self, path: Path) -> None:
        """Write atomically. Raises OSError where the disk is full, and leaves what was there."""
        from safetensors.torch import save

        packed = save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(self.tensors.items())},
            metadata={METADATA_KEY: self.card.model_dump_json()},
        )
        write_atomic(path, packed)


def halves(prefix: str, arrays: Mapping[str, FloatArray | Float32Array]) -> dict[str, "Tensor"]:
    """Half-precision tensors `prefix.name` of arrays by name; Weights.arrays reads them."""
    import torch

    return {f"{prefix}.{name}": torch.from_numpy(array).half() for name, array in arrays.items()}


def read_card(path: Path) -> Card:
    """The card alone, without reading tensors or importing torch. Raises InputError."""
    require_file(path, "a weight file")
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 10_000_000:
                raise ValueError("header too long")
            header = read_json(file.read(length))
        _require_whole(path, header, 8 + length)
        return Card.model_validate_json(header["__metadata__"][METADATA_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"{path}: its card is damaged: {key}: {first['msg']}") from None
    except InputError:
        raise
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise InputError(
            f"{path}: not a Polyclinic weight file; expected safetensors with a card, as `polyclinic train` writes"
        ) from None


def _require_whole(path: Path, header: Any, begins: int) -> None:
    """Raises InputError for a file that is longer or shorter than its header says."""
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    if path.stat().st_size != (expected := begins + max(ends, default=0)):
        raise InputError(
            f"{path}: damaged weight file: expected {expected:,} bytes, as its header says, "
            f"got {path.stat().st_size:,}; copy it again"
        )


def load(path: Path) -> Weights:
    """Tensors and card of a weight file. Raises InputError."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpack

    card = read_card(path)
    try:
        tensors = unpack(path.read_bytes())
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged weight file: {first_line(error)}") from None
    _require_numbers(tensors, path)
    return Weights(tensors, card)


def _require_numbers(tensors: Mapping[str, "Tensor"], path: Path) -> None:
    """Raises InputError for tensors of which nothing can be drawn: none, NaN or infinite numbers, all zero."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"{path}: damaged weight file: {name} holds NaN or infinite numbers; train it again"
            )
    if not any(tensor.count_nonzero() for tensor in tensors.values()):
        raise InputError(f"{path}: damaged weight file: all its numbers are zero; train it again")


def restore(net: "Module", weights: Weights, prefix: str = "", strict: bool = True) -> None:
    """Put the tensors named `prefix...` into a network as float32, ready to sample on the device in force.

    strict=False allows parts of the network that only training needs to be absent. Raises InputError
    when the file is of another network.
    """
    own = {k.removeprefix(prefix): t.float() for k, t in weights.tensors.items() if k.startswith(prefix)}
    try:
        net.load_state_dict(own, strict=strict)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"weights {weights.card.name} (version {weights.card.version or 'unknown'}) do not fit this "
            f"version's network; train them again: {reason}"
        ) from None
    net.eval().to(in_force())


def folders() -> list[Path]:
    """Where weights are looked for: $POLYCLINIC_WEIGHTS first (if set), then those that ship."""
    own = os.environ.get("POLYCLINIC_WEIGHTS")
    shipped = Path(str(files("polyclinic.modalities"))) / "weights"
    return [*([Path(own)] if own else []), shipped]


@contextmanager
def using(files: Mapping[str, Path]) -> Iterator[None]:
    """These weight files, by name, take the place of those of the folders; for this thread, until the block ends."""
    before = _named.set({**_named.get(), **files})
    try:
        yield
    finally:
        _named.reset(before)


def named() -> Mapping[str, Path]:
    """The weight files that using() has put in force, by name."""
    return _named.get()


@contextmanager
def of_instance(label: str) -> Iterator[None]:
    """Weights of that instance of a modality (`imaging:skin`) go before the plain ones (`imaging`) inside the block."""
    before = _label.set(label)
    try:
        yield
    finally:
        _label.reset(before)


def place_of(name: str) -> Path | None:
    """Path of the weight file of just that name, `imaging-skin.safetensors` of `imaging:skin` or None."""
    if name in named():
        return named()[name]
    paths = (folder / f"{file_name(stem_of(name), 'weights')}.safetensors" for folder in folders())
    return next((path for path in paths if path.is_file()), None)


def own(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these names of which the instance in force (of_instance) has weights of its own; none outside of one."""
    label = _label.get()
    return tuple(name for name in names if label and place_of(instance_named(name, label)) is not None)


def find(name: str) -> Path:
    """Path of the weight file `name`. Raises InputError that lists what was found and where to put it."""
    path = place_of(instance_named(name, _label.get())) if own([name]) else place_of(name)
    if path is not None:
        return path
    raise InputError(
        f"no weights {name!r} in {', '.join(str(f) for f in folders())}; train them with "
        f"`polyclinic train`, then name the file in `generate --use {name}=FILE`"
    )


def available() -> dict[str, Path]:
    """All weight files in force, by name; those of using() come first, before them those of the instance in force."""
    found: dict[str, Path] = dict(named())
    for folder in reversed(folders()):
        found.update({path.stem: path for path in sorted(folder.glob("*.safetensors"))})
    found |= named()
    if label := _label.get():
        bases = [
            name.removesuffix(end)
            for name in found
            for end in (f":{label}", f"-{label}")
            if name.endswith(end)
        ]
        found |= {base: find(base) for base in bases}
    return found


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    state = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()
