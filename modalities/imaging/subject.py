"""Subject: what images are of, as a card or a folder says, and its words for titles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.body_parts import BODY_PART, REGIONS
from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.training.weights import Card
from .formats.files import kind_of
from .formats.kinds import KINDS

LOOKED_AT = 8  # files of a set, to see what their tags say
CHEST, CHEST_XRAY = "CHEST", "Chest X-ray"
ALIKE = {"THORAX": CHEST}
RADIOGRAPHS = ("DX", "CR")
PHOTOGRAPHS = ("OP", "ES", "GM", "XC", "DMS", "SC")
BY_MODALITY = {
    kind.modality: name for name, kind in KINDS.items()
}  # files of other modalities become captures
# Nouns that name the body part by themselves
WHOLE = {"MG": "Mammogram", "OP": "Fundus photograph"}
NOUNS = {"PT": "PET", "DMS": "photograph (dermoscopy)"}
NAMES = {
    "CSPINE": "Cervical spine",
    "LSPINE": "Lumbar spine",
    "TSPINE": "Thoracic spine",
    "WHOLEBODY": "Whole-body",
}


@dataclass(frozen=True)
class Subject:
    """The kind of object (None: nobody says) and the body part (empty: nobody says)."""

    iod: str | None = None
    body_part: str = ""

    @classmethod
    def of_card(cls, card: Card, iod: str | None = None) -> "Subject":
        """What weights draw; cards that do not say are of chest X-rays."""
        shows = card.model.get("shows", {})
        return cls(iod or shows.get("iod"), shows.get("body_part", CHEST))

    @classmethod
    def of_data(cls, data: Sequence[TrainingSet]) -> "Subject":
        """What real images are of, by the first folder that says so."""
        return next((subject for part in data if (subject := _of(part)) != cls()), cls())

    @property
    def is_chest(self) -> bool:
        """Whether findings of the chest may be sought."""
        return self.body_part == CHEST

    @property
    def is_radiograph_of_chest(self) -> bool:
        """Whether it has a view, AP or PA."""
        return self.is_chest and self.iod in (None, *RADIOGRAPHS)

    @property
    def modality(self) -> str:
        """DICOM's, with one name for both kinds of radiograph; empty where nobody says."""
        return "DX" if self.iod in RADIOGRAPHS else KINDS[self.iod].modality if self.iod else ""

    @property
    def title(self) -> str:
        """As in a report: `Chest X-ray`, `Brain MR`, `Skin photograph (dermoscopy)`, `Image` where nobody says."""
        if self.is_radiograph_of_chest:
            return CHEST_XRAY
        if self.iod in WHOLE:
            return WHOLE[self.iod]
        noun = "image" if self.iod is None else NOUNS.get(self.iod, KINDS[self.iod].noun)
        part = NAMES.get(self.body_part, self.body_part.replace("_", " ").capitalize())
        return f"{part} {noun}" if part else noun[0].upper() + noun[1:]

    @property
    def reader(self) -> str:
        """Who would read such images."""
        return "specialist" if self.iod in PHOTOGRAPHS or self == Subject() else "radiologist"

    def facts(self) -> dict[str, Any]:
        """The title, for the health record, which has its own for chest X-rays."""
        return {} if self.is_radiograph_of_chest else {"title": self.title}

    def shows(self) -> dict[str, Any]:
        """The keys of model.Shows that are known, the object one that holds the body part."""
        iod = "CR" if self.iod == "DX" and self.body_part not in ("", *REGIONS) else self.iod
        part = self.body_part or (KINDS[iod].region if iod else None)
        return {key: value for key, value in (("iod", iod), ("body_part", part)) if value}


def _of(data: TrainingSet) -> Subject:
    """By `shows`, else by the tags of its first DICOM files, else by the view, which chest radiographs alone have."""
    from .data import options_of

    stated = options_of(data).shows
    tagged = _of_tags(data)
    body_part = str(stated.get("body_part") or tagged.body_part)
    body_part = ALIKE.get(body_part, body_part)
    if not body_part and not stated and "chest_view" in data.fields:
        body_part = CHEST
    return Subject(stated.get("iod") or tagged.iod, body_part)


def _of_tags(data: TrainingSet) -> Subject:
    """What the first files agree on, if they are DICOM. Taken as public, as their format is."""
    found = {tagged for record in data.records[:LOOKED_AT] if (tagged := _tagged(data.root / record))}
    parts, kinds = {subject.body_part for subject in found}, {subject.iod for subject in found}
    return Subject(kinds.pop() if len(kinds) == 1 else None, parts.pop() if len(parts) == 1 else "")


def _tagged(path: Path) -> Subject | None:
    """Of a DICOM file; None of any other, and of one that cannot be read, which reading all of them names."""
    try:
        found = kind_of(path)
    except InputError:
        return None
    if not found:
        return None
    part, kind = found.get("body_part", "").upper(), found.get("iod", "")
    part = part if re.fullmatch(BODY_PART, part) else ""
    return Subject(BY_MODALITY.get(kind, "SC") if kind else None, ALIKE.get(part, part))
