"""Registry: the detailed metrics, by the kind of table each is taken on, and detailed_scores(), which runs them all."""

from collections.abc import Iterator

import numpy as np

from ...core.modality import Panel, View
from ...core.types import FloatArray
from ..profile import EvaluationProfile
from ..sample import Sample
from ..score import DEPENDENCE, IMAGES, MARGINALS, OMICS, RARE, TIME_SERIES, Score
from . import structured, tabular
from .metric import Group, Metric, compare, unmeasured
from .tsgm_adapter import missing

WASSERSTEIN = (
    "standard deviations lie between the synthetic and the real distribution, mean over measurements"
)
EMBEDDING = "of the image features"
IDENTICAL = "the real series are all the same"
FEATURES = (
    Metric(
        "wasserstein", "Distance of single measurements (Wasserstein, in standard deviations)", MARGINALS,
        tabular.wasserstein, f"{{}} {WASSERSTEIN}", top=0.5,
    ),
    Metric(
        "cramers_v", "Difference of counts in tenths (chi-squared, as Cramer's V)", MARGINALS, tabular.chi_squared,
        "Counted in tenths of the real values, the two sides differ by {} (0 is equal, 1 is apart)", top=0.5,
    ),
    Metric(
        "correlation", "Correlation of pairs of measurements (mean difference, Spearman)", DEPENDENCE,
        tabular.correlations, "Correlations of two measurements are off by {} on average", top=0.5,
    ),
    Metric(
        "mutual_information", "Mutual information of pairs of measurements (mean difference, bits)", DEPENDENCE,
        tabular.mutual_information, "What one measurement tells of another is off by {} bits on average", top=0.25,
    ),
    Metric(
        "tail_coverage", "Extreme values that real patients show (share covered)", RARE, tabular.tails,
        "The cohort reaches {} of the real extremes (beyond 5 % on either side)", higher=True,
    ),
)  # fmt: skip
CATEGORIES = (
    Metric(
        "rare_category_coverage", "Rare categories that real patients show (share covered)", RARE, tabular.rare,
        "The cohort has {} of the categories that less than a tenth of the real patients have", higher=True,
        lacks="no rare category of the real patients is known of the synthetic ones",
    ),
)  # fmt: skip
KINDS: dict[str, tuple[Metric, ...]] = {
    "numbers": (
        Metric(
            "wasserstein_over_time", "Over time (Wasserstein, in standard deviations)", TIME_SERIES,
            tabular.wasserstein, f"{{}} {WASSERSTEIN}", top=0.5,
        ),
    ),
    "event": (
        Metric(
            "kaplan_meier_gap", "Time to event (largest gap of Kaplan-Meier curves)", TIME_SERIES, structured.survival,
            "The shares of patients still without the event differ by at most {}",
            lacks="fewer than 5 events are known on a side",
        ),
    ),
    "series": (
        Metric("mmd", "Distance of whole series (MMD, by tsgm)", TIME_SERIES, structured.series("mmd"),
                "The maximum mean discrepancy of whole series is {} (0 is equal)", top=None, close=0.5, heavy=True,
                lacks=IDENTICAL, missing=missing),
        Metric("series_range", "Distance of mean, least and most (by tsgm, in standard deviations)", TIME_SERIES,
                structured.series("distance"), "Mean, least and most of all series are off by {} standard deviations",
                top=None, close=0.5, heavy=True, missing=missing),
    ),
    "embedding": (
        Metric("fid", f"Frechet distance {EMBEDDING} (FID)", IMAGES,
                structured.fid, "The FID is {} (0 is equal)", top=None,
                close=0.5),
        Metric("kid", f"Kernel distance {EMBEDDING} (KID)", IMAGES, structured.kid, "The KID is {} (0 is equal)",
                top=None,
                close=0.5),
        Metric("precision", f"Precision {EMBEDDING}", IMAGES, structured.prdc_figure("precision"),
                "{} of the synthetic pictures lie where real ones do", higher=True),
        Metric("recall", f"Recall {EMBEDDING}", IMAGES, structured.prdc_figure("recall"),
                "{} of the real pictures lie where synthetic ones do", higher=True),
        Metric("density", f"Density {EMBEDDING}", IMAGES, structured.prdc_figure("density"),
                "Synthetic pictures lie where real ones are dense, by {} (1 is as real)", higher=True),
        Metric("coverage", f"Coverage {EMBEDDING}", IMAGES, structured.prdc_figure("coverage"),
                "{} of the real pictures have a synthetic one near", higher=True),
    ),
    "pixels": (
        Metric("ms_ssim", "Variety of the pictures (MS-SSIM of pairs, difference from real)", IMAGES,
                structured.ms_ssim_difference,
                "How alike two pictures are is {} from what it is for two real ones", top=0.5, heavy=True),
    ),
    "genes": (
        Metric("gene_correlation", "Gene-gene correlations (agreement, Pearson R)", OMICS,
                structured.gene_correlations,
                "The correlations of all pairs of genes agree by {} (1 is equal)", higher=True, heavy=True),
        Metric("differential_genes", "Differential genes found again (share of 200)", OMICS, structured.differential,
                "{} of the 200 most differential real genes are found in the cohort", higher=True,
                lacks="there are fewer than 5 patients of a class on a side"),
        Metric("gene_modules", "Gene modules kept (density beyond that of all genes)", OMICS, structured.modules,
                "The real gene modules keep {} of their density", higher=True, heavy=True,
                lacks="no module of 20 genes holds together in the real patients"),
    ),
}  # fmt: skip


def detailed_scores(
    view: View, synthetic: Sample, train: Sample, test: Sample, profile: EvaluationProfile, seed: int
) -> Iterator[Score]:
    """Every figure of the registry that the view's features, patients and panels allow."""
    three = synthetic, train, test
    names = tuple(map(str, test.features.columns))
    tables = [sample.features[list(names)].to_numpy(np.float64) for sample in three]
    yield from _compared(FEATURES, three, names, tables, profile, seed)
    known = tabular.category_names(test.profiles)
    yield from _compared(
        CATEGORIES, three, tuple(known), [tabular.categories(s.profiles, known) for s in three], profile, seed
    )
    for panel in view.panels:
        if all(panel.name in sample.panels for sample in three):
            yield from of_panel(panel, view, three, profile, seed)
        else:  # records that are numbers alone
            yield from _without(panel, "a side was read without its records")


def of_panel(
    panel: Panel, view: View, three: tuple[Sample, Sample, Sample], profile: EvaluationProfile, seed: int
) -> Iterator[Score]:
    """The figures of one panel, on the columns that all three sides have."""
    own = [sample.panels[panel.name] for sample in three]
    names = [name for name in own[2].columns if all(name in table.columns for table in own)]
    tables = [table[names].to_numpy(np.float64) for table in own]
    classes = [_contrast(panel, view, sample) for sample in three]
    yield from _compared(
        KINDS[panel.kind],
        three,
        tuple(map(str, names)),
        tables,
        profile,
        seed,
        classes,
        panel if _several(panel) else None,
    )


def _contrast(panel: Panel, view: View, sample: Sample) -> FloatArray | None:
    """(row,) 0 or 1 of the panel's two classes, NaN for the others."""
    if panel.contrast is None:
        return None
    name, *two = panel.contrast
    task = next(task for task in view.tasks if task.name == name)
    places = [task.classes.index(word) for word in two]
    labels = sample.labels[name]
    return np.select([labels == places[0], labels == places[1]], [0.0, 1.0], np.nan)


def _compared(
    metrics: tuple[Metric, ...],
    three: tuple[Sample, Sample, Sample],
    names: tuple[str, ...],
    tables: list[FloatArray],
    profile: EvaluationProfile,
    seed: int,
    classes: list[FloatArray | None] | None = None,
    panel: Panel | None = None,
) -> Iterator[Score]:
    groups = [
        Group(table, names, sample.patients, own)
        for table, sample, own in zip(tables, three, classes or [None] * 3, strict=True)
    ]
    for metric in metrics:
        if names:
            yield compare(metric, groups[0], groups[1], groups[2], profile, seed, panel)
        else:
            yield unmeasured(metric, "synthetic and real records share nothing of the kind", panel)


def unmeasured_scores(view: View, reason: str) -> list[Score]:
    """All of them without a figure."""
    found = [unmeasured(metric, reason) for metric in (*FEATURES, *CATEGORIES)]
    for panel in view.panels:
        found += _without(panel, reason)
    return found


def _without(panel: Panel, reason: str) -> list[Score]:
    return [unmeasured(metric, reason, panel if _several(panel) else None) for metric in KINDS[panel.kind]]


def _several(panel: Panel) -> bool:
    """Whether a view may have several panels of this kind, so that a score names its panel."""
    return panel.kind in ("numbers", "event")
