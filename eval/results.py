"""Results: what was found about one view of a cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.modality import View
from .score import AS_REAL, CLOSE, DIFFERENT, NOT_MEASURED, QUESTIONS, UNDECIDED, Score

WORST = 8  # features named as differing most


@dataclass(frozen=True)
class ViewReport:
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
            "not_seen": list(self.view.blind),
        }
