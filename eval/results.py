"""Results: what was found about one view of a cohort, and the format of scores.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.config import read_json
from ..core.errors import InputError
from ..core.modality import View
from .score import AS_REAL, CLOSE, DIFFERENT, NOT_MEASURED, QUESTIONS, UNDECIDED, Score

FORMAT, VERSION = "polyclinic-scores", 2
WORST = 8  # features named as differing most


@dataclass(frozen=True)
class ViewResult:
    """All that was found about one view; picture is a PNG, alt what it shows."""

    modality: str
    view: View
    scores: Sequence[Score]
    features: Mapping[str, float] = field(default_factory=dict)
    synthetic: Mapping[str, Any] | None = None
    real: Mapping[str, Any] | None = None
    picture: bytes = b""
    alt: str = ""
    real_pictured: bool = False

    def verdict(self, question: str) -> str:
        """The worst verdict of the scores that answer this question; undecided only if none is better."""
        found = [s.verdict for s in self.scores if s.question == question and s.verdict]
        return max(found, key=(UNDECIDED, AS_REAL, CLOSE, DIFFERENT).index) if found else NOT_MEASURED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        worst = sorted(self.features.items(), key=lambda item: -item[1])[:WORST]
        return {
            "modality": self.modality,
            "view": self.view.name,
            "title": self.view.title,
            "verdicts": {question: self.verdict(question) for question in QUESTIONS},
            "synthetic": self.synthetic,
            "real": self.real,
            "scores": [score.to_dict() for score in self.scores],
            "features_that_differ_most": [{"feature": n, "ks": round(d, 4)} for n, d in worst],
            "not_covered": list(self.view.blind),
        }


def read_scores(path: Path) -> dict[str, Any]:
    """The content of a scores.json. Raises InputError if it is none, or of another format_version."""
    try:
        scores: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
        found = scores["format"], scores.get("format_version", 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a scores.json ({type(error).__name__}: {error})") from None
    if found != (FORMAT, VERSION):
        raise InputError(
            f"{path}: expected {FORMAT} format_version {VERSION}, got {found[0]} {found[1]}; remove the file and run "
            "polyclinic evaluate or release again"
        )
    return scores
