"""Results: what training and evaluation give back to whoever called them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..core.training.weights import Card


@dataclass(frozen=True)
class Trained:
    """A weight file and its card, which says from what it was learnt and at which privacy cost."""

    path: Path
    card: "Card"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found. `scores` is the content of scores.json (docs/reference), `report` the page to open."""

    scores: Mapping[str, Any] = field(repr=False)
    report: Path

    def to_frame(self) -> "DataFrame":
        """One row a figure: modality, view, metric, value, interval, verdict and all that scores.json says of it."""
        import pandas as pd

        rows = [
            {"modality": view["modality"], "view": view["view"], **score}
            for view in self.scores["views"]
            for score in view["scores"]
        ]
        return pd.DataFrame(rows)
