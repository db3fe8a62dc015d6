"""What the trainers of ECG and vitals share: the card of their weights, and the two phases of their training."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from ...core.modality import TrainingSet
from ...core.weights import Card, DataUsed


def card(
    kind: str, name: str, data: Sequence[TrainingSet], steps: int, seconds: float, columns: Sequence[str],
    model: dict[str, Any], measured: dict[str, float],
    spent: Mapping[str, Any] = MappingProxyType({"privacy": "public"}), before: Sequence[DataUsed] = (),
) -> Card:  # fmt: skip
    """Of weights learnt on `data`, for what was `spent` (see core.ledger.pay), after what was learnt `before`."""
    used = [
        DataUsed(
            **vars(part.source), rows=len(part), patients=len({p.patient_id for p in part.profiles}),
            privacy=spent["privacy"],
        )
        for part in data
    ]  # fmt: skip
    return Card(
        name=name, modality="signals", kind=kind, data=[*used, *before], steps=steps,
        seconds=round(seconds), columns=list(columns), model=model, figures=measured, **spent,
    )  # fmt: skip


class _Phased(Protocol):
    adversarial: bool


class _Share(Protocol):
    likelihood_steps: int
    adversarial_steps: int
    share: float


def phases(module: _Phased, settings: _Share) -> Iterator[tuple[str, int, float]]:
    """Name, steps and share of time of each phase; the module is switched as the loop goes on."""
    yield "likelihood", settings.likelihood_steps, settings.share
    module.adversarial = True
    yield "adversarial", settings.adversarial_steps, 1 - settings.share
