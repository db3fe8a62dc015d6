"""What eval may measure on tumour expression: the genes of the PAM50 list, all genes, the subtype."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.modality import Record, Rows, Task, View
from ...core.profile import PatientProfile

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SUBTYPES = ("LumA", "LumB", "Basal", "Her2", "Normal")
COLOURS = ("#2166ac", "#67a9cf", "#b2182b", "#d95f9e", "#4d9221")
# Parker et al., J Clin Oncol 2009, with the older symbols that public tables still use; grouped for the map
PAM50 = {
    "luminal": "ESR1 PGR FOXA1 NAT1 MLPH BCL2 MAPT SLC39A6 CXXC5 GPR160 MDM2 BAG1 MMP11 TMEM45B "
    "BLVRA",
    "HER2": "ERBB2 GRB7 FGFR4",
    "basal": "KRT5 KRT14 KRT17 FOXC1 CDH3 MIA SFRP1 EGFR PHGDH ACTR3B MYC",
    "growth": "MKI67 CCNB1 CCNE1 CDC20 CDC6 CENPF CEP55 EXO1 KIF2C MELK MYBL2 NDC80 KNTC2 NUF2 CDCA1 ORC6 "
    "ORC6L PTTG1 RRM2 TYMS UBE2C UBE2T BIRC5 ANLN",
}  # fmt: skip
GENES = tuple(gene for group in PAM50.values() for gene in group.split())


def features(records: Sequence[Record]) -> "DataFrame":
    """(record, feature): log2 expression of the PAM50 genes that are there, median, share not detected."""
    everything = inputs(records)
    table = everything[[gene for gene in GENES if gene in everything.columns]].copy()
    table["median of all genes"] = everything.median(axis=1)
    table["share not detected"] = (everything == 0).mean(axis=1)
    return table


def inputs(records: Sequence[Record]) -> "DataFrame":
    """(record, gene) log2 expression of all genes."""
    from pandas import DataFrame

    values = np.stack([record.arrays["rna"] for record in records]).astype(np.float64)
    table = DataFrame(values, columns=[str(symbol) for symbol in records[0].arrays["rna_var"]])
    return table.loc[:, ~table.columns.duplicated()]


def _subtype(profile: PatientProfile, record: Record) -> float:
    name = profile.traits.get("pam50") or record.facts.get("pam50")
    return float(SUBTYPES.index(name)) if name in SUBTYPES else float("nan")


def picture(figure: "Figure", real: Rows, synthetic: Rows) -> str:
    """Expression map: PAM50 genes by patients in order of subtype, one colour scale for both sides."""
    sides = [("Real, held out", real), ("Synthetic", synthetic)] if real else [("Synthetic", synthetic)]
    tables = [features([record for _, record in rows]) for _, rows in sides]
    genes = [g for g in GENES if all(g in table.columns for table in tables)]
    middle, spread = tables[0][genes].mean(), tables[0][genes].std().clip(lower=0.1)
    figure.set_size_inches(12.4, 7.6)
    axes = figure.subplots(
        2,
        len(sides),
        squeeze=False,
        sharex="col",
        gridspec_kw={"height_ratios": [1, 24], "hspace": 0.02, "wspace": 0.04},
    )
    figure.subplots_adjust(left=0.075, right=0.915, top=0.9, bottom=0.04)
    for k, ((title, rows), table) in enumerate(zip(sides, tables, strict=True)):
        subtype = np.array([_subtype(*row) for row in rows])
        order = np.argsort(np.nan_to_num(subtype, nan=len(SUBTYPES)), kind="stable")
        z = ((table[genes] - middle) / spread).to_numpy()[order].T
        image = axes[1, k].imshow(
            z, aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5, interpolation="nearest"
        )
        axes[0, k].set_title(title, fontsize=13, fontweight="bold", pad=22)
        _subtype_bar(axes[0, k], subtype[order])
        axes[1, k].set_xlabel(f"{len(rows)} patients, in order of subtype", fontsize=9)
        axes[1, k].set_xticks([])
        axes[1, k].set_yticks([] if k else range(len(genes)), [] if k else genes, fontsize=7.5)
        _group_lines(axes[1, k], genes)
    bar = figure.colorbar(image, cax=figure.add_axes((0.93, 0.25, 0.012, 0.4)))
    bar.set_label(
        f"standard deviations from the mean of the {sides[0][0].split(',')[0].lower()} patients", fontsize=9
    )
    shown = " beside ".join(f"{len(rows)} {title.split(',')[0].lower()}" for title, rows in sides)
    return f"Expression map of {len(genes)} PAM50 genes in {shown} tumours, in order of subtype."


def _subtype_bar(axis: "object", subtype: NDArray[np.float64]) -> None:
    """A strip of subtype colours above the map, each named once."""
    from matplotlib.axes import Axes
    from matplotlib.colors import to_rgb

    assert isinstance(axis, Axes)
    colours = [to_rgb(COLOURS[int(s)]) if np.isfinite(s) else (0.7, 0.7, 0.7) for s in subtype]
    axis.imshow(np.array([colours]), aspect="auto", interpolation="nearest")
    axis.set_axis_off()
    for k, name in enumerate(SUBTYPES):
        if len(place := np.flatnonzero(subtype == k)) > 0.05 * len(subtype):
            axis.text(place.mean(), -0.75, name, ha="center", va="bottom", fontsize=8.5, color="#333333")


def _group_lines(axis: "object", genes: Sequence[str]) -> None:
    """White lines between the groups of genes."""
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    seen = 0
    for group in list(PAM50.values())[:-1]:
        seen += sum(gene in genes for gene in group.split())
        axis.axhline(seen - 0.5, color="white", linewidth=2)


def views() -> list[View]:
    """One view: RNA expression of the tumour."""
    return [
        View(
            name="rna",
            title="Tumour gene expression",
            needs="rna",
            features=features,
            inputs=inputs,
            tasks=(Task("the PAM50 subtype", SUBTYPES, _subtype),),
            picture=picture,
            about="Distances use log2 expression of the genes of the PAM50 list that the data hold, the "
            "median of all genes and the share not detected; the classifiers see all genes.",
            blind=(
                "gene-to-gene dependence beyond what the Frechet distance of the PAM50 genes sees",
                "survival, stage and response to treatment",
            ),
        )
    ]
