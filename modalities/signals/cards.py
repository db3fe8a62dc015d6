"""What the trainers of ECG and vitals share: the card of their weights."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ...core.modality import TrainingSet
from ...core.training.weights import Card, DataUsed


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
