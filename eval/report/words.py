"""What the report says in plain words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..metrics.classifier import CLOSE_AUC, LEAST_OF_CLASS
from ..metrics.distances import CLOSE_BY, LEAST
from ..metrics.tstr import CLOSE_SHARE
from ..score import (
    AS_REAL,
    CALIBRATION,
    CLOSE,
    DEPENDENCE,
    IMAGES,
    MARGINALS,
    NOT_MEASURED,
    OMICS,
    RARE,
    TIME_SERIES,
    UNDECIDED,
)

if TYPE_CHECKING:
    from ..linkage.linkage import Linkage
    from ..results import ViewResult

OPEN = (NOT_MEASURED, UNDECIDED)
ASKED = {
    "distance": "Do the measurements agree with real ones?",
    "c2st": "C2ST: can a classifier separate them from real ones?",
    "tstr": "TSTR: do they train a model that works on real patients?",
}
CLOSER = {
    MARGINALS: "One by one",
    DEPENDENCE: "How measurements go together",
    TIME_SERIES: "Over time",
    IMAGES: "As pictures",
    OMICS: "Biology",
    RARE: "Rare and extreme",
    CALIBRATION: "TRTS, calibration, subgroups",
}
CLOSER_HEAD = "Closer looks, as real or close"
CLOSER_CAPTION = (
    "The verdicts above do not rest on these. Each has its real baseline and its 95 % range, as the figures above "
    "have."
)
QUICK_LOOK = (
    "A quick look at {} of {} patients: small differences do not show, and some figures were left out."
)
PICTURES = "What do they look like?"
RULES_HEAD = "Does each record keep the rules of medicine?"
RULES_CAPTION = "Every rule that was checked, and how often the records of the patients looked at break it."
AGAINST_FOLDER = "Compared with held-out patients of the reference folder."
AGAINST_SHIPPED = (
    "Compared with shipped summaries of held-out public patients; no real record is in this report."
)
REAL_SHOWN = (
    "<strong>This report shows real records.</strong> The pictures marked “Real” come from the "
    "reference folder. Keep the report where those patients' data may be kept."
)
SUMMARY_CAPTION = (
    "Each figure stands beside its real baseline: what the same measurement gives between two groups of real "
    "patients. The verdict is the worst of its kind. With few patients only large differences show."
)
GAUGE_CAPTION = (
    "In the drawings the grey band is what real patients show, the dot with its line is this cohort."
)
NOT_CHOSEN = "Not chosen for looks: the first records that came."
QUOTED = "Measured when the weights were trained."
QUOTED_CAPTION = (
    " Quoted figures need real records: they were measured on another cohort of the same weights."
)
MIX = "Where the groups differ in age, sex or illness, the distances include that difference."
NOT_COVERED = (
    f"No verdict above covers these. Nothing is judged on fewer than {LEAST} patients, or {LEAST_OF_CLASS} "
    "records of a class."
)
MUST_AGREE = (
    "All sources of a subject must say the same in every patient. With shuffled ids each kind of record is "
    "given to another patient; what then still agrees is chance."
)
USUALLY_AGREES = (
    "Here one source only shows the subject: a mean over a day, a rhythm guessed from ten seconds, a range that a "
    "subtype usually has. It is counted, not required, and no patient fails by it."
)
RECOVERED = (
    "A model is trained on real training records and asked about held-out real and about synthetic ones; right is what "
    "each patient's profile says. Bars: an AUROC at most 0.05 lower, a mean error at most 20 % larger than on real."
)
CROSSED = (
    "Rank correlation of the two readings within patients. No real patient here has both records: expected is what "
    "follows if each showed the label as real ones do, and nothing else joined the two."
)
NOT_REVEALED = "real records may not show it"
TOO_FEW = "the rarest class has {} synthetic patients, too few to tell"
METHOD_OF_LINK = (
    "Linkage score: the lower of consistency and label recovery. Consistency is the share of patients whose files "
    "agree, above the share with shuffled ids, mean over the subjects that ids matter for. Label recovery is AUROC "
    "(for ages: concordance) above 0.5, relative to real records, mean over the labels that real records reveal."
)
NEVER = (
    "Distances within small groups: rare diseases, and each age, sex and origin by itself.",
    "How a physician would judge the records. Nobody has read them for this report.",
)
METHOD = (
    "Kolmogorov-Smirnov distance: the largest gap between two distribution functions, read at 19 quantiles "
    "(5 to 95 %) of the held-out real data, mean over features.",
    "Frechet distance: between Gaussians fitted to the features, standardised by mean and spread of the "
    "held-out real data and clipped at 8 standard deviations, divided by the number of features.",
    "Classifier two-sample test (C2ST): area under the ROC curve (AUC) of a cross-fitted random forest (5 folds, 3 "
    "repeats), equal numbers of held-out real and synthetic patients.",
    "Train on synthetic, test on real (TSTR): AUROC on held-out real patients of a logistic regression trained on "
    "the synthetic records; the real baseline is trained on as many real training records. With more than two classes, "
    "the mean of one class against the others.",
    "Real baselines: the same measurement with real training patients in place of synthetic ones, equally many, one "
    "record each. Ranges are 95 %: bootstraps of synthetic records and held-out real patients, or repeated "
    "draws of training patients for real baselines, widened to what new patients would show.",
    f"Verdicts: “as real” is inside the real baseline's range. “Close” is up to {CLOSE_BY['ks']:g} "
    f"(Kolmogorov-Smirnov) or {CLOSE_BY['frechet']:g} (Frechet) beyond it, an AUC up to {CLOSE_AUC:.2f}, "
    f"or {CLOSE_SHARE:.0%} of what real records give above chance. “Undecided”: the real baseline itself may be "
    "chance, or the difference may be.",
    "Closer looks, one by one: Wasserstein-1 distance in standard deviations of the real data; Cramer's V of the "
    "chi-squared test on tenths. Together: mean difference of Spearman correlations, and of mutual information in "
    "bits between columns cut at the real quartiles. Over time: Wasserstein distance of autocorrelations, spectra and "
    "heart-rate variability, record by record; largest gap of Kaplan-Meier curves.",
    "Pictures: Frechet and kernel distances, precision, recall, density and coverage (5 neighbours) in 128 features of "
    "a net that has seen medical images; multi-scale structural similarity (MS-SSIM) of pairs.",
    "Biology: Pearson R between gene-gene correlations; Welch's test with 5 % false discoveries; density of modules.",
    "Rare and extreme: share of the categories that less than a tenth of real patients have; share of the real 5 % "
    "tails that is reached. Probabilities: Brier score, and calibration error in ten bins. Subgroups: age bands, "
    "sexes, and origins where the reference tells them, of 20 real test records or more.",
    METHOD_OF_LINK,
)


def headline(reports: Sequence["ViewResult"], patients: int) -> str:
    """The verdict in a few sentences."""
    stated = [v for r in reports if (v := r.verdict("c2st")) not in OPEN]
    taught = [v for r in reports if (v := r.verdict("tstr")) not in OPEN]
    said = [f"{patients} synthetic patients, {len(reports)} kinds of records."]
    if stated:
        hard = sum(v in (AS_REAL, CLOSE) for v in stated)
        said.append(f"In {hard} of {len(stated)} kinds a classifier hardly separates them from real ones.")
    if taught:
        fine = sum(v in (AS_REAL, CLOSE) for v in taught)
        said.append(f"In {fine} of {len(taught)} they train a model about as well as real records do.")
    if len(stated) + len(taught) < 2 * len(reports):
        said.append("Some questions could not be answered; the reasons are below.")
    return " ".join(said)


def link_headline(link: "Linkage") -> str:
    """What was found of the link, in a few sentences."""
    if link.consistency is None and link.label_recovery is None:
        return "Not measured: no two records of a patient say something about the same subject."
    said = []
    if link.score is not None:
        said.append(f"Linkage score {link.score:.2f} of 1; with shuffled ids {link.shuffled or 0:.2f}.")
    if link.consistency is not None:
        failing = (
            f"{len(link.inconsistent_patients)} patients have"
            if link.inconsistent_patients
            else "no patient has"
        )
        subjects = sum(a.required for a in link.consistency_by_subject)
        said.append(
            f"Consistency {link.consistency:.2f} on {subjects} subjects: {failing} contradictory files."
        )
    if link.label_recovery is None:
        said.append("Label recovery was not measured: it needs real records, give a reference folder.")
    else:
        near = [r for r in link.label_recoveries if r.judged]
        met = sum(r.met for r in near)
        said.append(
            f"Label recovery {link.label_recovery:.2f}: {met} of {len(near)} labels as well as from real records."
        )
    return " ".join(said)
