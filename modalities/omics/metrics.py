"""What eval may measure on samples: some features of an assay, all of them, the classes, survival."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.modality import Panel, Record, Task, TrainingSet, View
from ...core.profile import PatientProfile
from .classes import PAM50, Classes, classes_of, of_breast
from .data import options_of
from .modules import PAM50 as PAM50_GENES
from .pictures import picture

if TYPE_CHECKING:
    from pandas import DataFrame

GENES = tuple(gene for group in PAM50_GENES.values() for gene in group.split())
SPACED = 50  # features that distances use, where no list of genes is known
TITLES = {
    "rna": "Gene expression", "mirna": "microRNA expression", "meth": "DNA methylation", "protein": "Protein levels",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What there is to look at: assays, classes, whether the samples are of breast cancer, whether survival is known.

    contrast: the two most frequent classes, for genes that differ; None where there are not two.
    """

    assays: tuple[str, ...]
    classes: Classes
    contrast: tuple[str, str] | None
    breast: bool
    survival: bool

    @classmethod
    def of_card(cls, model: Mapping[str, Any], columns: Sequence[str]) -> "Shown":
        """From the card of weights; those of version 0.1 are of breast cancer."""
        classes = Classes.of_card(model, columns)
        shares: Mapping[str, float] = model.get("subtype_shares", {})
        return cls(
            tuple(model.get("assays", ("rna",))), classes, _contrast(classes, shares), bool(model.get("breast", True)),
            bool(model.get("survival", True)),
        )  # fmt: skip

    @classmethod
    def of_data(cls, data: Sequence[TrainingSet]) -> "Shown":
        """From real data. Raises InputError."""
        options = [options_of(part) for part in data]
        classes = classes_of(data, next((own.classes for own in options if own.classes), None))
        known = Counter(
            classes.names[k] for part in data for p in part.profiles if (k := classes.place(p)) >= 0
        )
        return cls(
            tuple(dict.fromkeys(name for own in options for name in own.assays)),
            classes,
            _contrast(classes, known),
            any(of_breast(classes, own.tumour) for own in options),
            any(own.survival for own in options),
        )

    @property
    def viewed(self) -> tuple[str, ...]:
        """The assays that are measured: RNA alone where there is RNA, else each."""
        return ("rna",) if "rna" in self.assays else self.assays


def _contrast(classes: Classes, known: Mapping[str, float]) -> tuple[str, str] | None:
    if classes.field == PAM50.field:
        return "LumA", "Basal"
    first, *rest = sorted(classes.names, key=lambda name: -known.get(name, 0))[:2]
    return (first, rest[0]) if rest else None


def features(records: Sequence[Record], assay: str = "rna", breast: bool = True) -> "DataFrame":
    """(record, feature): values of the PAM50 genes that are there, median, share not detected.

    Of other samples than breast cancers evenly spaced features stand in the place of the PAM50 genes.
    """
    everything = inputs(records, assay)
    names = [gene for gene in GENES if gene in everything.columns] if breast and assay == "rna" else []
    if not names:
        names = list(everything.columns[:: max(1, -(-len(everything.columns) // SPACED))])
    table = everything[names].astype(np.float64)
    table["median of all genes"] = everything.median(axis=1).astype(np.float64)
    table["share not detected"] = (everything == 0).mean(axis=1)
    return table


def inputs(records: Sequence[Record], assay: str = "rna") -> "DataFrame":
    """(record, feature) values of all features of an assay, as the records have them."""
    from pandas import DataFrame

    values = np.stack([record.arrays[assay] for record in records]).astype(np.float32)
    table = DataFrame(values, columns=[str(symbol) for symbol in records[0].arrays[f"{assay}_var"]])
    return table.loc[:, ~table.columns.duplicated()]


def survival(records: Sequence[Record]) -> "DataFrame":
    """(record, 2): months followed, and 1 where death ended them; NaN where it is not known."""
    from pandas import DataFrame

    rows = [[record.facts.get(name, np.nan) for name in ("os_months", "os_event")] for record in records]
    return DataFrame(np.array(rows, dtype=np.float64), columns=["months", "death"])


def label_of(classes: Classes) -> Callable[[PatientProfile, Record], float]:
    """Place among the classes, by the profile or else the record; NaN where it is unknown."""

    def label(profile: PatientProfile, record: Record) -> float:
        place = classes.place(profile)
        place = place if place >= 0 else classes.place_of(record.facts.get(classes.field))
        return float(place) if place >= 0 else float("nan")

    return label


def views(shown: Shown) -> list[View]:
    """A view an assay that is measured."""
    return [_view(assay, shown) for assay in shown.viewed]


def _view(assay: str, shown: Shown) -> View:
    classes = shown.classes
    field = "" if classes.field == PAM50.field else classes.field
    tasks = (Task(classes.label, classes.names, label_of(classes), field),) if len(classes) > 1 else ()
    named = assay == "rna" and shown.breast
    others = [name for name in shown.assays if name not in shown.viewed]
    return View(
        name=assay,
        title="Tumour gene expression" if named else TITLES.get(assay, f"Assay {assay}"),
        needs=assay,
        features=partial(features, assay=assay, breast=shown.breast),
        inputs=partial(inputs, assay=assay),
        tasks=tasks,
        panels=_panels(assay, shown),
        picture=partial(picture, assay=assay, classes=classes, contrast=shown.contrast, breast=shown.breast),
        about=f"Distances use {'log2 expression of the genes of the PAM50 list' if named else 'evenly spaced features'}"
        " that the data hold, the median of all genes and the share not detected; the classifiers see all genes.",
        blind=(
            *([f"{', '.join(others)}, but for the picture"] if others else ()),
            "anything that the declared fields do not name",
        ),
    )


def _panels(assay: str, shown: Shown) -> tuple[Panel, ...]:
    contrast = shown.contrast and (shown.classes.label, *shown.contrast)
    differ = f", and the genes that differ between {' and '.join(shown.contrast)}" if shown.contrast else ""
    genes = Panel(
        "genes", "all genes", "genes", partial(inputs, assay=assay), f"Correlations, modules{differ}.", contrast
    )  # fmt: skip
    ends = Panel("survival", "overall survival", "event", survival, "Months to death or to the last contact.")
    return (genes, ends) if shown.survival else (genes,)
