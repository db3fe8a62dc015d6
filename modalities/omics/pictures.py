"""Pictures of samples for reports: map of values, principal components, differential features, correlation maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.modality import Rows
from ...core.types import FloatArray, IntArray
from .classes import Classes
from .modules import PAM50

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

COLOURS = ("#2166ac", "#67a9cf", "#b2182b", "#d95f9e", "#4d9221")
UNKNOWN = "#b3b3b3"
MAPPED = 120  # features of a correlation map
SHOWN = 40  # features of a map of values
MOST = 2000  # features whose principal components are taken
LEAST = 5  # samples of each class, for a test
FLAT = 0.1  # least spread that values are divided by


class Side:
    """Real or synthetic samples: title, class (patient,), and each assay's values by feature name."""

    def __init__(self, title: str, rows: Rows, assay: str, classes: Classes) -> None:
        self.title, self.assay = title, assay
        self.subtype = np.array(
            [
                place if (place := classes.place(p)) >= 0 else classes.place_of(r.facts.get(classes.field))
                for p, r in rows
            ]
        )
        records = [record for _, record in rows]
        others = sorted({n for r in records for n in r.arrays if f"{n}_var" in r.arrays} - {assay})
        self.names: dict[str, list[str]] = {}
        self.values: dict[str, FloatArray] = {}
        for name in [assay, *(other for other in others if all(other in r.arrays for r in records))]:
            self.names[name] = [str(s) for s in records[0].arrays[f"{name}_var"]]
            self.values[name] = np.stack([r.arrays[name] for r in records]).astype(np.float64)

    def of(self, features: Sequence[str]) -> FloatArray:
        """(patient, feature) of these features of the assay."""
        place = {name: k for k, name in enumerate(self.names[self.assay])}
        return self.values[self.assay][:, [place[name] for name in features]]

    def __len__(self) -> int:
        return len(self.subtype)


@dataclass(frozen=True)
class Palette:
    """Names and colours of the classes, and the two that are held against each other."""

    classes: Classes
    contrast: tuple[str, str] | None

    @property
    def colours(self) -> list[Any]:
        """One a class."""
        if len(self.classes) <= len(COLOURS):
            return list(COLOURS)
        from matplotlib import colormaps

        map_ = colormaps["tab20"]
        return [map_(k % map_.N) for k in range(len(self.classes))]

    @property
    def names(self) -> Sequence[str]:
        """Of the classes; none where there is but one."""
        return self.classes.names if len(self.classes) > 1 else ()

    def of(self, subtype: IntArray) -> list[Any]:
        """(patient,) colours."""
        colours = self.colours
        return [colours[k] if k >= 0 else UNKNOWN for k in subtype]


def picture(
    figure: "Figure", real: Rows, synthetic: Rows, *, assay: str, classes: Classes,
    contrast: tuple[str, str] | None, breast: bool,
) -> str:  # fmt: skip
    """Four views of real and synthetic samples (or of synthetic ones alone); the alternative text."""
    titled = [("Real, held out", real), ("Synthetic", synthetic)] if real else [("Synthetic", synthetic)]
    sides = [Side(title, rows, assay, classes) for title, rows in titled]
    palette = Palette(classes, contrast)
    figure.set_size_inches(12.4, 12.2)
    parts = figure.add_gridspec(2, 1, height_ratios=(7.2, 5))
    top, bottom = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    have = [set(side.names[assay]) for side in sides]
    shared = [g for g in dict.fromkeys(sides[0].names[assay]) if all(g in names for names in have)]
    listed = [g for names in PAM50.values() for g in names.split() if g in shared] if breast else []
    _expression_map(top, sides, listed or _telling(sides[0], shared), palette, bool(listed))
    grid = bottom.add_gridspec(1, 3, left=0.06, right=0.97, top=0.86, bottom=0.13, wspace=0.3)
    _components(bottom.add_subplot(grid[0]), sides, shared, palette)
    _differential(bottom.add_subplot(grid[1]), sides, shared, palette)
    _correlations(bottom.add_subplot(grid[2]), sides)
    shown = " and ".join(f"{len(side)} {side.title.split(',')[0].lower()}" for side in sides)
    differ = f"features that differ between {' and '.join(contrast)}, " if contrast else ""
    return (
        f"{shown} samples: {'PAM50 genes' if listed else 'telling features'} in order of class, principal components "
        f"of the features, {differ}and correlations between features."
    )


def _telling(side: Side, features: Sequence[str]) -> list[str]:
    """The features whose classes differ most (or that vary most, with one class), in order of their highest class."""
    values = side.of(features)
    kinds = [k for k in np.unique(side.subtype) if k >= 0 and (side.subtype == k).sum() > 1]
    if len(kinds) < 2:
        return [features[k] for k in np.sort(np.argsort(-values.std(0))[:SHOWN])]
    means = np.stack([values[side.subtype == k].mean(0) for k in kinds])
    within = np.stack([values[side.subtype == k].std(0) for k in kinds]).mean(0)
    best = np.argsort(-means.std(0) / (within + FLAT))[:SHOWN]
    return [features[k] for k in best[np.argsort(means[:, best].argmax(0), kind="stable")]]


def _expression_map(
    figure: "FigureBase", sides: Sequence[Side], genes: Sequence[str], palette: Palette, grouped: bool
) -> None:
    """Features by patients in order of class, one colour scale for both sides; `grouped`: they are PAM50 genes."""
    axes = figure.subplots(
        2, len(sides), squeeze=False, sharex="col",
        gridspec_kw={"height_ratios": [1, 24], "hspace": 0.02, "wspace": 0.04},
    )  # fmt: skip
    figure.subplots_adjust(left=0.075, right=0.915, top=0.9, bottom=0.04)
    first = sides[0].of(genes)
    middle, spread = first.mean(0), np.maximum(first.std(0), 0.1)
    for k, side in enumerate(sides):
        order = np.argsort(np.where(side.subtype < 0, len(palette.classes), side.subtype), kind="stable")
        z = ((side.of(genes) - middle) / spread)[order].T
        below = axes[1, k]
        image = below.imshow(z, aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5, interpolation="nearest")
        axes[0, k].set_title(side.title, fontsize=13, fontweight="bold", pad=22)
        _class_bar(axes[0, k], side.subtype[order], palette)
        below.set_xlabel(f"{len(side)} patients, in order of class", fontsize=9)
        below.set_xticks([])
        below.set_yticks([] if k else range(len(genes)), [] if k else genes, fontsize=7)
        seen = 0
        for group in list(PAM50.values())[:-1] if grouped else ():
            seen += sum(gene in genes for gene in group.split())
            below.axhline(seen - 0.5, color="white", linewidth=2)
    bar = figure.colorbar(image, cax=figure.add_axes((0.93, 0.25, 0.012, 0.4)))
    bar.set_label(
        f"standard deviations from the mean of the {sides[0].title.split(',')[0].lower()} patients",
        fontsize=8,
    )


def _class_bar(axis: "Axes", subtype: IntArray, palette: Palette) -> None:
    """A strip of class colours above the map, each named once."""
    from matplotlib.colors import to_rgb

    colours = [to_rgb(colour) for colour in palette.of(subtype)]
    axis.imshow(np.array([colours]), aspect="auto", interpolation="nearest")
    axis.set_axis_off()
    for k, name in enumerate(palette.names):
        if len(place := np.flatnonzero(subtype == k)) > 0.05 * len(subtype):
            axis.text(place.mean(), -0.75, name, ha="center", va="bottom", fontsize=8.5, color="#333333")


def _components(axis: "Axes", sides: Sequence[Side], genes: Sequence[str], palette: Palette) -> None:
    """Both sides in the two principal components of the first (of its features that vary most)."""
    most = np.sort(np.argsort(-sides[0].of(genes).std(0), kind="stable")[:MOST])
    genes = [genes[k] for k in most]
    first = sides[0].of(genes)
    middle, spread = first.mean(0), np.maximum(first.std(0), 0.1)
    directions = np.linalg.svd((first - middle) / spread, full_matrices=False)[2][:2]
    for side in sides:
        place = ((side.of(genes) - middle) / spread) @ directions.T
        colours = palette.of(side.subtype)
        style: dict[str, Any] = (
            {"facecolors": "none", "edgecolors": colours, "linewidths": 1.4}
            if side.title.startswith("Real")
            else {"c": colours, "alpha": 0.75, "linewidths": 0}
        )
        axis.scatter(place[:, 0], place[:, -1], s=34, label=side.title, **style)
    axis.set_title("Principal components of the features", fontsize=10.5, fontweight="bold")
    axis.set_xlabel("component 1, colours as above", fontsize=8.5)
    axis.set_ylabel("component 2", fontsize=8.5)
    axis.tick_params(labelsize=7.5)
    axis.legend(fontsize=8, frameon=False, labelcolor="#333333")


def _differential(axis: "Axes", sides: Sequence[Side], genes: Sequence[str], palette: Palette) -> None:
    """Differences of means between two classes, a dot a feature: real across, synthetic up.

    With one side only, its volcano: the difference against Welch's p.
    """
    axis.tick_params(labelsize=7.5)
    if palette.contrast is None:
        axis.set_axis_off()
        return
    names = palette.contrast
    one, other = (palette.classes.names.index(name) for name in names)
    axis.set_title(f"{names[1]} against {names[0]}, a dot a feature", fontsize=10.5, fontweight="bold")
    if any((side.subtype == kind).sum() < LEAST for side in sides for kind in (one, other)):
        axis.text(
            0.5, 0.5, f"needs {LEAST} samples of each", ha="center", transform=axis.transAxes, fontsize=9
        )
        axis.set_axis_off()
        return
    from scipy.stats import ttest_ind_from_stats

    found = []
    for side in sides:
        values = side.of(genes)
        second, first = values[side.subtype == other], values[side.subtype == one]
        with np.errstate(all="ignore"):
            # of moments, since ttest_ind() warns of features that are constant in a class
            moments = [m for of in (second, first) for m in (of.mean(0), of.std(0, ddof=1), len(of))]
            p = np.nan_to_num(ttest_ind_from_stats(*moments, equal_var=False).pvalue, nan=1.0)
        found.append((second.mean(0) - first.mean(0), p))
    x, p = found[0]
    y = found[1][0] if len(found) > 1 else -np.log10(np.maximum(p, 1e-300))
    strong = p < 0.05 / len(p)
    axis.scatter(x[~strong], y[~strong], s=5, color=UNKNOWN, linewidths=0)
    axis.scatter(x[strong], y[strong], s=7, color="#5e3c99", linewidths=0)
    if len(found) > 1:
        axis.axline((0, 0), slope=1, color="#333333", linewidth=0.8)
    across = sides[0].title.split(",")[0].lower()
    axis.set_xlabel(f"difference of means, {across} (purple: p < 0.05 / features)", fontsize=8.5)
    axis.set_ylabel("difference of means, synthetic" if len(found) > 1 else "-log10 p", fontsize=8.5)


def _correlations(axis: "Axes", sides: Sequence[Side]) -> None:
    """Correlations of the most varying features of all assays: the first side above the diagonal, the other below."""
    assays = [name for name in sides[0].values if all(name in side.values for side in sides)]
    most = MAPPED // len(assays)
    chosen = {name: np.sort(np.argsort(-sides[0].values[name].std(0))[:most]) for name in assays}
    first, *rest = (_matrix(side, chosen) for side in sides)
    order = _ordered(first, [len(features) for features in chosen.values()])
    both = np.triu(first[np.ix_(order, order)])
    both += np.tril((rest[0] if rest else first)[np.ix_(order, order)], -1)
    axis.imshow(both, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    edges = np.cumsum([0, *(len(features) for features in chosen.values())])
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color="black", linewidth=0.8)
        axis.axvline(edge - 0.5, color="black", linewidth=0.8)
    axis.set_xticks((edges[:-1] + edges[1:]) / 2 - 0.5, assays, fontsize=8.5)
    axis.set_yticks([])
    axis.set_title("Correlations of features", fontsize=10.5, fontweight="bold")
    if rest:
        axis.set_xlabel("above the diagonal real, below synthetic", fontsize=8.5)


def _matrix(side: Side, chosen: dict[str, IntArray]) -> FloatArray:
    values = np.concatenate([side.values[name][:, features] for name, features in chosen.items()], axis=1)
    z = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
    return np.asarray(z.T @ z / len(z))


def _ordered(correlation: FloatArray, sizes: Sequence[int]) -> list[int]:
    """Features of each assay by their weight in its first component, so that blocks show."""
    order: list[int] = []
    for size in sizes:
        start = len(order)
        block = correlation[start : start + size, start : start + size]
        order += (start + np.argsort(np.linalg.eigh(block)[1][:, -1])).tolist()
    return order
