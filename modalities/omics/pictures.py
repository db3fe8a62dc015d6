"""Pictures of tumours for reports: expression map, principal components, differential genes, correlation maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.modality import Rows
from ...core.types import FloatArray, IntArray
from .modules import PAM50
from .tumours import SUBTYPES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

COLOURS = ("#2166ac", "#67a9cf", "#b2182b", "#d95f9e", "#4d9221")
UNKNOWN = "#b3b3b3"
MAPPED = 120  # features of a correlation map
LEAST = 5  # tumours of each kind, for a test
LUMA, BASAL = SUBTYPES.index("LumA"), SUBTYPES.index("Basal")


class Side:
    """Real or synthetic tumours: title, subtype (patient,), and each assay's values by feature name."""

    def __init__(self, title: str, rows: Rows) -> None:
        names = [profile.traits.get("pam50") or record.facts.get("pam50") for profile, record in rows]
        self.title = title
        self.subtype = np.array([SUBTYPES.index(n) if n in SUBTYPES else -1 for n in names])
        records = [record for _, record in rows]
        self.names = {"rna": [str(s) for s in records[0].arrays["rna_var"]]}
        self.values = {"rna": np.stack([r.arrays["rna"] for r in records]).astype(np.float64)}
        for assay in ("meth", "mirna"):
            if all(assay in r.arrays for r in records):
                self.names[assay] = [str(s) for s in records[0].arrays[f"{assay}_var"]]
                self.values[assay] = np.stack([r.arrays[assay] for r in records]).astype(np.float64)

    def rna(self, genes: Sequence[str]) -> FloatArray:
        """(patient, gene) of these genes."""
        return self.values["rna"][:, [self.names["rna"].index(g) for g in genes]]

    def __len__(self) -> int:
        return len(self.subtype)


def picture(figure: "Figure", real: Rows, synthetic: Rows) -> str:
    """Four views of real and synthetic tumours (or of synthetic ones alone); the alternative text."""
    sides = (
        [Side("Real, held out", real), Side("Synthetic", synthetic)]
        if real
        else [Side("Synthetic", synthetic)]
    )
    figure.set_size_inches(12.4, 12.2)
    parts = figure.add_gridspec(2, 1, height_ratios=(7.2, 5))
    top, bottom = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    shared = [g for g in dict.fromkeys(sides[0].names["rna"]) if all(g in s.names["rna"] for s in sides)]
    _expression_map(top, sides, [g for names in PAM50.values() for g in names.split() if g in shared])
    grid = bottom.add_gridspec(1, 3, left=0.06, right=0.97, top=0.86, bottom=0.13, wspace=0.3)
    _components(bottom.add_subplot(grid[0]), sides, shared)
    _differential(bottom.add_subplot(grid[1]), sides, shared)
    _correlations(bottom.add_subplot(grid[2]), sides)
    shown = " and ".join(f"{len(side)} {side.title.split(',')[0].lower()}" for side in sides)
    return (
        f"{shown} tumours: PAM50 genes in order of subtype, principal components of all genes, genes that "
        "differ between luminal A and basal tumours, and correlations between features."
    )


def _expression_map(figure: "FigureBase", sides: Sequence[Side], genes: Sequence[str]) -> None:
    """PAM50 genes by patients in order of subtype, one colour scale for both sides."""
    axes = figure.subplots(
        2, len(sides), squeeze=False, sharex="col",
        gridspec_kw={"height_ratios": [1, 24], "hspace": 0.02, "wspace": 0.04},
    )  # fmt: skip
    figure.subplots_adjust(left=0.075, right=0.915, top=0.9, bottom=0.04)
    first = sides[0].rna(genes)
    middle, spread = first.mean(0), np.maximum(first.std(0), 0.1)
    for k, side in enumerate(sides):
        order = np.argsort(np.where(side.subtype < 0, len(SUBTYPES), side.subtype), kind="stable")
        z = ((side.rna(genes) - middle) / spread)[order].T
        below = axes[1, k]
        image = below.imshow(z, aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5, interpolation="nearest")
        axes[0, k].set_title(side.title, fontsize=13, fontweight="bold", pad=22)
        _subtype_bar(axes[0, k], side.subtype[order])
        below.set_xlabel(f"{len(side)} patients, in order of subtype", fontsize=9)
        below.set_xticks([])
        below.set_yticks([] if k else range(len(genes)), [] if k else genes, fontsize=7)
        seen = 0
        for group in list(PAM50.values())[:-1]:
            seen += sum(gene in genes for gene in group.split())
            below.axhline(seen - 0.5, color="white", linewidth=2)
    bar = figure.colorbar(image, cax=figure.add_axes((0.93, 0.25, 0.012, 0.4)))
    bar.set_label(
        f"standard deviations from the mean of the {sides[0].title.split(',')[0].lower()} patients",
        fontsize=8,
    )


def _subtype_bar(axis: "Axes", subtype: IntArray) -> None:
    """A strip of subtype colours above the map, each named once."""
    from matplotlib.colors import to_rgb

    colours = [to_rgb(COLOURS[s] if s >= 0 else UNKNOWN) for s in subtype]
    axis.imshow(np.array([colours]), aspect="auto", interpolation="nearest")
    axis.set_axis_off()
    for k, name in enumerate(SUBTYPES):
        if len(place := np.flatnonzero(subtype == k)) > 0.05 * len(subtype):
            axis.text(place.mean(), -0.75, name, ha="center", va="bottom", fontsize=8.5, color="#333333")


def _components(axis: "Axes", sides: Sequence[Side], genes: Sequence[str]) -> None:
    """Both sides in the two principal components of the first."""
    first = sides[0].rna(genes)
    middle, spread = first.mean(0), np.maximum(first.std(0), 0.1)
    directions = np.linalg.svd((first - middle) / spread, full_matrices=False)[2][:2]
    for side in sides:
        place = ((side.rna(genes) - middle) / spread) @ directions.T
        colours = [COLOURS[s] if s >= 0 else UNKNOWN for s in side.subtype]
        style: dict[str, Any] = (
            {"facecolors": "none", "edgecolors": colours, "linewidths": 1.4}
            if side.title.startswith("Real")
            else {"c": colours, "alpha": 0.75, "linewidths": 0}
        )
        axis.scatter(place[:, 0], place[:, -1], s=34, label=side.title, **style)
    axis.set_title("Principal components of all genes", fontsize=10.5, fontweight="bold")
    axis.set_xlabel("component 1, colours as above", fontsize=8.5)
    axis.set_ylabel("component 2", fontsize=8.5)
    axis.tick_params(labelsize=7.5)
    axis.legend(fontsize=8, frameon=False, labelcolor="#333333")


def _differential(axis: "Axes", sides: Sequence[Side], genes: Sequence[str]) -> None:
    """Differences of means between basal and luminal A tumours, a dot a gene: real across, synthetic up.

    With one side only, its volcano: the difference against Welch's p.
    """
    axis.set_title("Basal against luminal A, a dot a gene", fontsize=10.5, fontweight="bold")
    axis.tick_params(labelsize=7.5)
    if any((side.subtype == kind).sum() < LEAST for side in sides for kind in (LUMA, BASAL)):
        axis.text(
            0.5, 0.5, f"needs {LEAST} tumours of each", ha="center", transform=axis.transAxes, fontsize=9
        )
        axis.set_axis_off()
        return
    from scipy.stats import ttest_ind

    found = []
    for side in sides:
        values = side.rna(genes)
        basal, luminal = values[side.subtype == BASAL], values[side.subtype == LUMA]
        p = np.nan_to_num(ttest_ind(basal, luminal, equal_var=False).pvalue, nan=1.0)
        found.append((basal.mean(0) - luminal.mean(0), p))
    x, p = found[0]
    y = found[1][0] if len(found) > 1 else -np.log10(np.maximum(p, 1e-300))
    strong = p < 0.05 / len(p)
    axis.scatter(x[~strong], y[~strong], s=5, color=UNKNOWN, linewidths=0)
    axis.scatter(x[strong], y[strong], s=7, color="#5e3c99", linewidths=0)
    if len(found) > 1:
        axis.axline((0, 0), slope=1, color="#333333", linewidth=0.8)
    across = sides[0].title.split(",")[0].lower()
    axis.set_xlabel(f"log2 difference, {across} (purple: p < 0.05 / genes)", fontsize=8.5)
    axis.set_ylabel("log2 difference, synthetic" if len(found) > 1 else "-log10 p", fontsize=8.5)


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
