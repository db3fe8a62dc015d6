"""The report's section on the link: what agrees, what models recover, and what is left when ids are shuffled."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ..score import AS_REAL, DIFFERENT
from . import words
from .markup import chip, grid, listed, under

if TYPE_CHECKING:
    from ..linkage.consistency import Consistency
    from ..linkage.cross_modal import CrossModalCorrelation
    from ..linkage.label_recovery import LabelRecovery
    from ..linkage.linkage import Linkage

SHOWN_CONTRADICTIONS = 20


def linked(link: "Linkage") -> str:
    """The section's markup."""
    parts = [f"<p>{escape(words.link_headline(link))}</p>"]
    if required := [a for a in link.consistency_by_subject if a.required]:
        parts.append("<h3>What must agree</h3>" + _agreements(required, words.MUST_AGREE))
    if usual := [a for a in link.consistency_by_subject if not a.required]:
        parts.append("<h3>What agrees as a rule</h3>" + _agreements(usual, words.USUALLY_AGREES))
    if link.label_recoveries:
        parts.append(
            "<h3>What a model trained on real records reads off these</h3>"
            + _label_recoveries(link.label_recoveries)
        )
    if link.cross_modal_correlations:
        parts.append(
            "<h3>Two records of one patient, read by two models</h3>"
            + _cross_modal_correlations(link.cross_modal_correlations)
        )
    if link.contradictions:
        more = len(link.contradictions) - SHOWN_CONTRADICTIONS
        lines = [str(contradiction) for contradiction in link.contradictions[:SHOWN_CONTRADICTIONS]]
        lines += [f"{more} more are in scores.json."] if more > 0 else []
        parts.append("<h3>Patients whose files contradict each other</h3>" + listed(lines))
    return "".join(parts)


def _agreements(rows: Sequence["Consistency"], caption: str) -> str:
    cells = []
    for a in rows:
        sources = a.sources if a.source is None else (a.source, "against " + ", ".join(a.sources))
        gap = "" if a.gap is None else under(f"median distance {a.gap:.3g}")
        verdict = chip(AS_REAL if a.consistent == a.patients else DIFFERENT) if a.required else ""
        cells.append(
            [
                escape(a.subject) + under("; ".join(sources)),
                f"{a.consistent} of {a.patients}{gap}",
                f"{a.share:.1%}",
                f"{a.shuffled:.1%}",
                verdict,
            ]
        )
    return grid(("Subject", "Patients", "Agree", "With shuffled ids", ""), cells, caption)


def _label_recoveries(rows: Sequence["LabelRecovery"]) -> str:
    cells = [
        [
            escape(f"{r.title}: {r.label}") + under(f"{r.measure}, {r.rows[0]} real records to learn from"),
            f"{r.real:.2f}" + under(f"{r.real_range[0]:.2f} to {r.real_range[1]:.2f}"),
            f"{r.synthetic:.2f}" + under(f"{r.synthetic_range[0]:.2f} to {r.synthetic_range[1]:.2f}"),
            f"{r.limit:.2f}",
            f"{r.shuffled[0]:.2f}",
            chip(r.verdict) + _why(r),
        ]
        for r in rows
    ]
    heads = ("Record and label", "Real, held out", "Synthetic", "Bar", "With shuffled ids", "Verdict")
    return grid(heads, cells, words.RECOVERED)


def _why(r: "LabelRecovery") -> str:
    """Why a label is not judged."""
    if r.judged:
        return ""
    return under(words.TOO_FEW.format(r.smallest_class) if r.shown_by_real else words.NOT_REVEALED)


def _cross_modal_correlations(rows: Sequence["CrossModalCorrelation"]) -> str:
    cells = [
        [
            escape(f"{c.label}: {c.titles[0]}, {c.titles[1]}") + under(f"{c.patients} patients"),
            f"{c.correlation:.2f}" + under(f"{c.interval[0]:.2f} to {c.interval[1]:.2f}"),
            f"{c.expected:.2f}",
            f"{c.shuffled[0]:.2f}",
            chip(c.verdict),
        ]
        for c in rows
    ]
    heads = ("Fact and records", "Go together", "Expected at least", "With shuffled ids", "Verdict")
    return grid(heads, cells, words.CROSSED)
