"""Verification: whether a certified cohort is, byte for byte, what was certified, and by whom."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...core.capabilities import Watermarking
from ...core.cohort import quarantine
from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.journal import JOURNAL, JUDGED, PURGED, Event, Journal
from ...core.cohort.watermark import COHORT, PATIENT, Mark, Tally
from ...core.errors import InputError
from ...core.modality import Modality
from ...core.training.weights import digest
from . import certificate
from .certificate import CERTIFICATE, CROISSANT, DATASHEET, ENVELOPE, REPORT, SCORES

OURS = {
    MANIFEST, CERTIFICATE, ENVELOPE, SCORES, REPORT, CROISSANT, DATASHEET, quarantine.QUARANTINE,
    JOURNAL, f"{JOURNAL}.torn",
}  # fmt: skip


UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)  # of a manifest that was changed
UNFINISHED = f"{MANIFEST}: cannot be read as that of a finished cohort"


@dataclass(frozen=True)
class VerificationResult:
    """problems: what is wrong, a line each; notes: what is right, and what could not be checked.

    released: there is a certificate, or a trace of one. A cohort never released has one problem at least, which says
    so, and then what is wrong by its manifest.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    released: bool = True


@dataclass(frozen=True)
class WatermarkReading:
    """The watermark over a cohort: all samples together, and ids of patients in whose records it is not found."""

    whole: Tally
    patients: int
    without: list[str]

    @property
    def found(self) -> bool:
        """Whether it is in the cohort as a whole, and in each patient who has a record that can carry it."""
        return self.whole.log10_false_positive <= COHORT and not self.without


def verify(
    folder: Path, public: str | None = None, watermark: Path | None = None, progress: Path | None = None
) -> VerificationResult:  # fmt: skip
    """Check hashes of all files, the certificate and its signature, the journal, and the watermark if its key is given.

    public: the key, in hex, that must have signed. progress: see Cohort.verify.
    Raises InputError only where there is nothing to check.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: no cohort there (expected a folder with {MANIFEST})")
    if not any((folder / name).exists() for name in (CERTIFICATE, ENVELOPE, JOURNAL)):
        return _never_released(folder, progress)
    found = VerificationResult()
    try:
        signed = certificate.read(folder)
    except InputError as error:
        found.problems.append(str(error).removeprefix(f"{folder}/"))
        signed = {}
    try:
        if signed:
            found.problems.extend(_certified(folder, signed, public))
            found.notes.append(_signer(signed, public))
        purged = _journal(folder, signed, found)
    except (KeyError, TypeError, IndexError):
        found.problems.append(f"{CERTIFICATE}: signed, but not by a release of this version")
        purged = None
    try:
        cohort = Cohort.open(folder)
        cohort.require_complete()
        if purged is not None:
            left = [name for name in cohort.manifest["files"] if (folder / name).exists()]
            found.problems.extend(f"{name}: was to be purged and is still there" for name in left)
        else:
            found.problems.extend(cohort.verify(progress))
        found.problems.extend(untracked_files(cohort))
        if purged is None and not found.problems:
            found.notes.append(f"{len(cohort.manifest['files'])} files are as they were certified")
            _watermark(cohort, watermark, found)
    except UNREADABLE as error:
        found.problems.append(f"{UNFINISHED} ({error})")
    return found


def _never_released(folder: Path, progress: Path | None) -> VerificationResult:
    """What its manifest tells of a cohort without certificate and journal."""
    try:
        cohort = Cohort.open(folder)
        cohort.require_complete()
        wrong = [*cohort.verify(progress), *untracked_files(cohort)]
        files = len(cohort.manifest["files"])
    except UNREADABLE as error:
        wrong, files = [f"{UNFINISHED} ({error})"], 0
    said = "never certified (polyclinic release does that)"
    first = (
        f"{said}; not as its manifest says"
        if wrong
        else f"{said}; its {files} files are as its manifest says"
    )
    return VerificationResult([first, *wrong], released=False)


def untracked_files(cohort: Cohort) -> list[str]:
    """Files that neither the manifest nor a release put there, a line each."""
    files, others = cohort.manifest["files"], OURS | cohort.shards.keys()
    paths = (p for p in sorted(cohort.folder.rglob("*")) if p.is_symlink() or not p.is_dir())
    names = (path.relative_to(cohort.folder).as_posix() for path in paths)
    return [f"{name}: not in the manifest" for name in names if name not in others and name not in files]


def read_watermark(cohort: Cohort, key: Mark) -> WatermarkReading:
    """Read the watermark off every record that can carry one."""
    from ..engines.job import chosen_of  # models, which a check of hashes needs not load

    modalities: list[Modality] = [m for m in chosen_of(cohort) if isinstance(m, Watermarking)]
    whole, without, patients = Tally(), list[str](), 0
    for patient in cohort.read(modalities):
        tally = Tally()
        for modality in modalities:
            if isinstance(modality, Watermarking) and (record := patient.records.get(modality.name)):
                tally += modality.marks(record, key, patient.profile.patient_id)
        if tally.of:
            patients += 1
            whole += tally
            if tally.log10_false_positive > PATIENT:
                without.append(patient.profile.patient_id)
    return WatermarkReading(whole, patients, without)


def _certified(folder: Path, signed: dict[str, Any], public: str | None) -> Iterator[str]:
    """What is wrong by the certificate itself."""
    if public is not None and signed["signed_by"] != public:
        yield f"{CERTIFICATE}: signed by {signed['signed_by']}, not by the key given"
    if not signed["verdict"]["passed"]:
        verdict = signed["verdict"]
        yield f"{CERTIFICATE}: says refused, by {verdict['refused_by']}: {verdict['reasons'][0]}"
    if digest(folder / MANIFEST) != signed["cohort"]["manifest_sha256"]:
        yield f"{MANIFEST}: changed since it was certified"
    gone = any(event.event == PURGED for event in _events(folder))
    for name in (SCORES, REPORT, CROISSANT, DATASHEET):
        wanted, path = signed["artifacts"].get(name), folder / name
        if path.exists() and wanted is None:
            yield f"{name}: not in the certificate"
        elif wanted is not None and not path.exists():
            if not (gone and name == REPORT):
                yield f"{name}: missing"
        elif wanted is not None and digest(path) != wanted:
            yield f"{name}: changed since it was certified"
    if datetime.now(UTC).date().isoformat() > signed["retain_until"]:
        yield f"{CERTIFICATE}: was to be kept until {signed['retain_until']}; purge it"


def _signer(signed: dict[str, Any], public: str | None) -> str:
    if public is None:
        return f"signed by {signed['signed_by']}; whether that is the steward, only --key can tell"
    return f"signed by {signed['signed_by']} on {signed['issued']}, policy {signed['policy']['name']}"


def _journal(folder: Path, signed: dict[str, Any], found: VerificationResult) -> Event | None:
    """Check the journal and the mark of quarantine; the purge, if there was one."""
    journal = Journal(folder)
    try:
        events = journal.events()
        if signed and journal.chain.head(signed["journal"]["lines"]) != signed["journal"]["head"]:
            found.problems.append(f"{JOURNAL}: lines that the certificate was signed over are gone")
    except InputError as error:
        found.problems.append(str(error).removeprefix(f"{folder}/"))
        return None
    verdicts = [event for event in events if event.event == JUDGED]
    refused = bool(verdicts) and not verdicts[-1].details["passed"]
    mark = folder / quarantine.QUARANTINE
    there = mark.read_bytes() if mark.exists() else b""
    if there != (quarantine.content(verdicts[-1].details) if refused else b""):
        found.problems.append(f"{mark.name}: not what the journal says")
    if signed and refused and signed["verdict"]["passed"]:
        found.problems.append(f"{JOURNAL}: refused since, by policy {verdicts[-1].details['policy']}")
    found.notes.append(f"{len(events)} events in the journal, all signed")
    purged = next((event for event in events if event.event == PURGED), None)
    if purged is not None:
        said = f"{purged.details['files']} files, {purged.details['reason'] or 'no reason given'}"
        found.notes.append(f"purged on {purged.time[:10]}: {said}; the artifacts that stay were checked")
    return purged


def _events(folder: Path) -> list[Event]:
    try:
        return Journal(folder).events()
    except InputError:
        return []


def _watermark(cohort: Cohort, path: Path | None, found: VerificationResult) -> None:
    mark = cohort.manifest.get("watermark")
    if mark is None:
        if path is not None:
            found.problems.append(f"{MANIFEST}: the cohort carries no watermark")
        return
    if path is None:
        found.notes.append(f"watermark of key {mark['key']}: not checked, it needs --watermark-key")
        return
    marks = read_watermark(cohort, Mark.named(mark["key"], path))
    summary = f"{marks.whole.agree} of {marks.whole.of} samples agree with the watermark"
    if not marks.found:
        lacking = f", not found in {len(marks.without)} of {marks.patients} patients: {', '.join(marks.without[:5])}"
        found.problems.append(summary + lacking)
        return
    chance = max(-300.0, marks.whole.log10_false_positive)
    found.notes.append(
        f"{summary}; chance at most 1e{chance:.0f}, and in every patient at most 1e{PATIENT:.0f}"
    )
