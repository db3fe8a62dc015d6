"""Phrases and names of the notes, as configs/notes/*.yaml has them, read once."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ....core.config import Settings, parse, read_yaml
from ....core.errors import InputError
from ....core.fields import SNOMED
from ..codes import Entry, codes
from .text import LABELS, Mention, Part, Parts

_TOKEN = re.compile(r"\{(\w+)\}|\[([^\]|]+)\|([A-Z]+)\]")


class Phrase:
    """A phrase with {slots}, and [words|LABEL] that are annotated wherever it stands.

    Raises InputError for a label or a body part that does not exist.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: list[str | tuple[str] | Mention] = []
        at = 0
        for found in _TOKEN.finditer(text):
            slot, words, label = found.groups()
            if found.start() > at:
                self._tokens.append(text[at : found.start()])
            if slot:
                self._tokens.append((slot,))
            elif label not in LABELS:
                raise InputError(f"phrase {text!r}: expected one of {', '.join(LABELS)}, got {label}")
            else:
                code = names().anatomy_code(words) if label == "ANATOMY" else None
                if label == "ANATOMY" and code is None:
                    raise InputError(f"phrase {text!r}: expected a body part of names.yaml, got {words!r}")
                self._tokens.append(Mention(words, label, code, SNOMED if code else None))
            at = found.end()
        if at < len(text):
            self._tokens.append(text[at:])

    @property
    def slots(self) -> set[str]:
        """Names of the slots."""
        return {token[0] for token in self._tokens if type(token) is tuple}

    @property
    def marked(self) -> list[Mention]:
        """The words that are annotated in the phrase itself."""
        return [token for token in self._tokens if isinstance(token, Mention)]

    def fill(self, slots: Mapping[str, Part | Parts], mention: Mention | None = None) -> Parts:
        """The parts, slots filled; words annotated here state what `mention` does, unless they are anatomy."""
        out: Parts = []
        for token in self._tokens:
            if isinstance(token, str):
                out.append(token)
            elif isinstance(token, Mention):
                if mention is None or token.label == "ANATOMY":
                    out.append(token)
                else:
                    negated = mention.negated or token.label == "NORMAL"
                    out.append(Mention(token.surface, token.label, *mention[2:7], negated))
            else:
                filling = slots[token[0]]
                if isinstance(filling, list):
                    out += filling
                else:
                    out.append(filling)
        return out


class Name(Settings):
    """What a thing is called at length and in short."""

    long: list[str]
    short: list[str] = Field(default_factory=list)


class Sign(Settings):
    """What a reading shows beyond a limit; `women`: their limit."""

    of: str
    code: str
    over: float | None = None
    under: float | None = None
    women: float | None = None
    adjectives: list[str] = Field(default_factory=list, alias="is")
    nouns: list[str] = Field(alias="had")

    def shown(self, value: float, female: bool | None) -> bool:
        """Whether a value shows it."""
        if self.over is not None:
            return value > self.over
        assert self.under is not None
        return value < (self.women if self.women is not None and female else self.under)


class Names(Settings):
    """configs/notes/names.yaml."""

    conditions: dict[str, Name]
    observations: dict[str, Name]
    drugs: dict[str, Name]
    procedures: dict[str, Name]
    answers: dict[str, Name]
    units: dict[str, list[str]]
    routes: dict[str, Name]
    frequencies: dict[int, Name]
    anatomy: dict[str, list[str]]
    signs: dict[str, Sign]

    def named(self, kind: str) -> Mapping[Any, Name]:
        """The names of one kind (conditions, drugs, ...); what has none is called by its display."""
        return _named(kind)

    def anatomy_code(self, words: str) -> str | None:
        """The SNOMED CT code of a body part by its words, None if it is not listed."""
        return next((code for code, known in self.anatomy.items() if words.lower() in known), None)


Book = Literal["radiology", "ecg", "pathology", "genomics", "summary"]


def _path(name: str) -> Path:
    return Path(str(files("polyclinic.configs"))) / "notes" / f"{name}.yaml"


@cache
def names() -> Names:
    """The names, read once."""
    return parse(Names, read_yaml(_path("names")), str(_path("names")))


@cache
def _named(kind: str) -> Mapping[Any, Name]:
    found: dict[Any, Name] = dict(getattr(names(), kind))
    listed: Mapping[str, Entry] = getattr(codes(), kind, {})
    for key, entry in listed.items():
        found.setdefault(key, Name(long=[entry.display[0].lower() + entry.display[1:]]))
    return found


@cache
def signs_of(observation: str) -> tuple[Sign, ...]:
    """What a reading of that observation may show."""
    return tuple(sign for sign in names().signs.values() if sign.of == observation)


@cache
def phrases(book: Book) -> Mapping[str, tuple[Phrase, ...]]:
    """The phrases of one kind of note by dotted key, read once. Raises InputError."""
    return dict(_flat(read_yaml(_path(book)), "", str(_path(book))))


def _flat(values: Any, key: str, where: str) -> list[tuple[str, tuple[Phrase, ...]]]:
    if isinstance(values, list):
        return [(key, tuple(Phrase(str(text)) for text in values))]
    if not isinstance(values, dict):
        raise InputError(f"{where}: {key}: expected a list of phrases, got {values!r}")
    inner = [(f"{key}/{name}" if key else str(name), value) for name, value in values.items()]
    return [pair for name, value in inner for pair in _flat(value, name, where)]
