"""What masks show: the labels of data sets, of weights and of records, as their descriptions have them."""

from collections.abc import Sequence
from typing import Any

from ...core.config import MaskLabel, parse
from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.training.weights import Card

MASK_LABELS = "mask_labels"  # of a card's model: what the masks show, the first label first

SNOMED = {  # of labels by name, SNOMED CT; others have the code that dataset.yaml states
    "lung": "39607008", "heart": "80891009", "liver": "10200004", "spleen": "78961009", "kidney": "64033007",
    "brain": "12738006", "pancreas": "15776009", "bladder": "89837001", "prostate": "41216001", "breast": "76752008",
    "trachea": "44567001", "rib": "113197003", "clavicle": "51299004", "femur": "71341001", "aorta": "15825003",
    "bone": "272673000", "skin": "39937001", "hand": "85562004", "lesion": "52988006", "nodule": "27925004",
    "mass": "4147007", "neoplasm": "108369006", "tumour": "108369006", "tumor": "108369006",
    "pleural effusion": "60046008", "pneumothorax": "36118008",
}  # fmt: skip


def labels_of(data: Sequence[TrainingSet]) -> tuple[MaskLabel, ...]:
    """What masks of these sets show, the first label first; none where no set has masks.

    Raises InputError where two sets with masks name other labels: a model draws one kind of mask.
    """
    named = {part.source.name: tuple(part.mask_labels.values()) for part in data if part.mask_labels}
    if len(set(map(_names, named.values()))) > 1:
        said = "; ".join(f"{name}: {', '.join(_names(labels))}" for name, labels in named.items())
        raise InputError(
            f"mask_labels: expected the same labels in the same order in all data sets, got {said}"
        )
    return next(iter(named.values()), ())


def _names(labels: Sequence[MaskLabel]) -> tuple[str, ...]:
    return tuple(one.label for one in labels)


def mask_labels_of(card: Card) -> tuple[MaskLabel, ...]:
    """What the masks of a model show; none where it draws images alone."""
    stated = card.model.get(MASK_LABELS, ())
    return tuple(parse(MaskLabel, one, f"weights {card.name}: model.{MASK_LABELS}") for one in stated)


def facts_of(labels: Sequence[MaskLabel]) -> list[dict[str, Any]]:
    """The labels as a card and a record's facts have them, with codes of common ones: number n is at place n - 1."""
    return [{"label": one.label, "codes": dict(one.codes or _known(one.label))} for one in labels]


def _known(label: str) -> dict[str, str]:
    code = SNOMED.get(label.casefold())
    return {"snomed": code} if code else {}
