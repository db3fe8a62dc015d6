"""Measuring: the figures of a cohort, signed, so that every release by one key against the same data takes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ...core.cohort import quarantine
from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.journal import EVALUATED, PURGED, Event, Journal
from ...core.cohort.signing import Signer
from ...core.dp.ledger import Ledger
from ...core.errors import Refused, listed
from ...core.training.weights import digest, using
from ...eval.results import read_scores
from ..engines.job import chosen_of
from ..engines.use import recorded
from ..references import Given, References
from .certificate import CERTIFICATE, REPORT, SCORES, fingerprint, ledger_of
from .verification import untracked_files


def measure(
    folder: Path,
    key: Path,
    reference: Given | None = None,
    ledgers: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda title: None,
) -> tuple[dict[str, Any], Path]:
    """The figures of a finished cohort and its report, both in its folder; `key` signs in its journal that it measured.

    A release by this key against the same data takes them. What this key has measured is not measured again.
    Raises Refused when files were changed or added, or the cohort was purged, and InputError.
    """
    for path in ledgers:
        ledger_of(path)
    signer, cohort = Signer.load(key), Cohort.open(folder)
    real = None if reference is None else References.load(reference)
    cohort.require_complete()
    require_whole(cohort, Journal(folder).events())
    with using(recorded(cohort)):
        return scores(cohort, signer, real, ledgers, progress), folder / REPORT


def scores(
    cohort: Cohort,
    signer: Signer,
    reference: References | None,
    ledgers: Sequence[Path],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """scores.json as it is if this key signed that it is of this manifest and these data; else measured now."""
    from ...eval.report.report import evaluate

    folder, subject = cohort.folder, digest(cohort.folder / MANIFEST)
    path, journal = folder / SCORES, Journal(folder)
    details = {"reference": summary(reference)["sha256"], "version": __version__}
    note_access(reference, ledgers, f"scores of cohort {folder.name} ({subject[:12]}) on real rows")
    if path.exists():
        wanted = {"scores_sha256": digest(path), **details}
        events = journal.events()
        if any(e.of(EVALUATED, subject) and e.by == signer.public and e.details == wanted for e in events):
            return read_scores(path)
    chosen = chosen_of(cohort)
    real = None if reference is None else reference.of(chosen)
    # no picture of a real record may leave with the cohort
    found = evaluate(cohort, chosen, real, folder, show_real=False, progress=progress)
    journal.append(EVALUATED, subject, signer, {"scores_sha256": digest(path), **details})
    return found


def summary(reference: References | None) -> dict[str, Any]:
    """Which real data a cohort is held against: their names, and a hash of who is in them."""
    if reference is None:
        return {"kind": "shipped", "sha256": None, "data": []}
    rows = [
        {
            "modality": name,
            "name": s.source.name,
            "licence": s.source.licence,
            "split": s.split,
            "rows": len(s),
        }
        for name, pairs in sorted(reference.all().items())
        for pair in pairs
        for s in pair
    ]
    who = [s.records for _, pairs in sorted(reference.all().items()) for pair in pairs for s in pair]
    return {"kind": "folder", "sha256": fingerprint({"sets": rows, "records": who}), "data": rows}


def note_access(reference: References | None, ledgers: Sequence[Path], purpose: str) -> None:
    """Put down in the ledgers, once, that real people whom they know were looked at, which no budget is charged for."""
    known = {} if reference is None else reference.all()
    sets = [s for pairs in known.values() for pair in pairs for s in pair]
    for book in (Ledger(path) for path in ledgers):
        for population in dict.fromkeys(entry.population for entry in book.entries()):
            own = [s for s in sets if s.source.name in population.split("+")]
            if own:
                people = {p.patient_id for s in own for p in s.profiles}
                book.note(population, purpose, len(people))


def require_whole(cohort: Cohort, events: Sequence[Event]) -> None:
    """Raises Refused unless the folder holds what was drawn, all of it, and nothing else."""
    folder = cohort.folder
    if any(event.event == PURGED for event in events):
        raise Refused(f"{folder}: was purged; draw it again")
    if not events and any((folder / name).exists() for name in (CERTIFICATE, quarantine.QUARANTINE)):
        raise Refused(f"{folder}: has been judged before, and its journal is gone; draw it again elsewhere")
    if problems := [*cohort.verify(), *untracked_files(cohort)]:
        raise Refused(f"{folder}: not as it was drawn: {listed(problems, 5)}")
