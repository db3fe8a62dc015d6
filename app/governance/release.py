"""Release: a cohort is measured, held against a policy, and leaves with a certificate, or stays in quarantine."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.cohort import quarantine
from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.disk import part_of, write_atomic
from ...core.cohort.journal import APPROVED, JUDGED, RESAMPLED, Event, Journal
from ...core.cohort.signing import Signer
from ...core.cohort.watermark import Mark
from ...core.config import load
from ...core.errors import InputError
from ...core.training.weights import digest, using
from ...eval.gate import judge
from ...eval.policy import Policy
from ...eval.results import read_scores
from ...eval.verdict import Verdict
from ..engines.generation import begun_on, header, run
from ..engines.job import chosen_of, population_of
from ..engines.use import recorded
from ..references import Given, References
from . import certificate, croissant, measuring
from .certificate import CERTIFICATE, CROISSANT, DATASHEET, ENVELOPE, SCORES, cards_of, fingerprint
from .verification import OURS, read_watermark


@dataclass(frozen=True)
class Outcome:
    """What was decided of the cohort in `folder`. mendable: modalities whose new draw could turn it."""

    folder: Path
    passed: bool
    refused_by: str | None
    reasons: tuple[str, ...]
    unmeasured: tuple[str, ...]
    mendable: frozenset[str]
    already_decided: bool = False


@dataclass(frozen=True)
class ReleaseContext:
    """What a steward brings to every cohort: key, policy, reference data, files of ledgers, the watermark's key."""

    signer: Signer
    policy: Policy
    reference: References | None
    ledgers: tuple[Path, ...] = ()
    watermark: Path | None = None

    @classmethod
    def load(
        cls,
        policy: str,
        key: Path,
        reference: Given | None = None,
        ledgers: Sequence[Path] = (),
        watermark: Path | None = None,
    ) -> "ReleaseContext":
        """Read all of it. Raises InputError before anything is measured."""
        for path in ledgers:
            certificate.ledger_of(path)
        return cls(
            Signer.load(key),
            load(Policy, policy, "policy")[0],
            None if reference is None else References.load(reference),
            tuple(ledgers),
            watermark,
        )

    def decide(self, cohort: Cohort, progress: Callable[[str], None] = lambda title: None) -> Outcome:
        """Measure a cohort, judge it, note the verdict in its journal, and write its artifacts or its quarantine.

        What this policy has refused for its figures is not measured again: the verdict stands. Raises Refused
        when files were changed or added, or the cohort was purged, and InputError.
        """
        with using(recorded(cohort)):
            return self._decide(cohort, progress)

    def _decide(self, cohort: Cohort, progress: Callable[[str], None]) -> Outcome:
        folder, subject, terms = cohort.folder, digest(cohort.folder / MANIFEST), self.terms
        journal = Journal(folder)
        events = journal.events()
        for name in OURS:  # what a release that was killed left half-written
            part_of(folder / name).unlink(missing_ok=True)
        measuring.require_whole(cohort, events)
        for event in events:
            if (
                event.of(JUDGED, subject)
                and event.details["policy_sha256"] == terms
                and event.details["final"]
            ):
                self._complete(cohort, events, event)
                return _outcome(folder, event.details, already_decided=True)
        scores = measuring.scores(cohort, self.signer, self.reference, self.ledgers, progress)
        cards = cards_of(cohort)
        verdict = judge(
            self.policy, cohort.manifest, scores, cards, self._approvals(journal.events(), subject)
        )
        details = {
            "policy": self.policy.name,
            "policy_sha256": terms,
            "passed": verdict.passed,
            "final": bool(verdict.failed),
            "refused_by": verdict.refused_by,
            "reasons": verdict.reasons,
            "not_measured": [str(check) for check in verdict.unmeasured],
            "mendable": sorted(verdict.mendable),
            "scores_sha256": digest(folder / SCORES),
        }
        journal.append(JUDGED, subject, self.signer, details)
        self._certify(cohort, verdict, cards, details)
        return _outcome(folder, details)

    def _complete(self, cohort: Cohort, events: Sequence[Event], standing: Event) -> None:
        """Write what a release that was killed after its verdict did not: the same verdict on the same figures."""
        folder, details = cohort.folder, standing.details
        if not details["passed"] and events[-1] is standing:
            quarantine.put(folder, details)
        sealed = all((folder / name).exists() for name in (CERTIFICATE, ENVELOPE))
        lines = certificate.read(folder)["journal"]["lines"] if sealed else 0
        if lines > events.index(standing) or not (folder / SCORES).exists():
            return
        if digest(folder / SCORES) == details["scores_sha256"]:
            cards, scores = cards_of(cohort), read_scores(folder / SCORES)
            verdict = judge(
                self.policy, cohort.manifest, scores, cards, self._approvals(events, standing.subject)
            )
            if verdict.passed == details["passed"]:
                self._certify(cohort, verdict, cards, details)

    def _certify(
        self, cohort: Cohort, verdict: Verdict, cards: Sequence[Mapping[str, Any]], details: Mapping[str, Any]
    ) -> None:
        """Artifacts or quarantine, then the certificate that seals them."""
        folder, mark = cohort.folder, cohort.manifest.get("watermark")
        key = Mark.named(mark["key"], self.watermark) if mark and self.watermark else None
        body = certificate.compose(
            cohort,
            self.policy,
            verdict,
            reference=self.reference_summary,
            cards=cards,
            ledgers=[certificate.ledger_of(path) for path in self.ledgers],
            watermark=_watermark_summary(cohort, key) if mark else None,
        )
        _write_artifacts(cohort, {**body, "signed_by": self.signer.public}, details)
        certificate.write(folder, body, self.signer)

    @property
    def terms(self) -> str:
        """Hash of the policy's every word."""
        return fingerprint(self.policy.model_dump(mode="json"))

    @property
    def reference_summary(self) -> dict[str, Any]:
        """Which real data a cohort is held against: their names, and a hash of who is in them."""
        return measuring.summary(self.reference)

    def note_access(self, purpose: str) -> None:
        """Put down in the ledgers that real people whom they know were looked at, which no budget is charged for."""
        measuring.note_access(self.reference, self.ledgers, purpose)

    def _approvals(self, events: Sequence[Event], subject: str) -> dict[str, set[str]]:
        """Keys that approved in each role this cohort under this policy; the signer approves as the steward."""
        found: dict[str, set[str]] = {"steward": {self.signer.public}}
        for event in events:
            if event.of(APPROVED, subject) and event.details["policy_sha256"] == self.terms:
                found.setdefault(event.details["role"], set()).add(event.by)
        return found


def release(
    folder: Path,
    context: ReleaseContext,
    *,
    regenerate: int = 0,
    workers: int | None = None,
    progress: Callable[[str], None] = lambda title: None,
) -> Outcome:
    """Decide on a cohort; while only figures of some modalities are in the way, resample these.

    At most `regenerate` times. New cohorts lie beside the first, as NAME.draw-2 and so on; those refused stay where
    they are, in quarantine.
    Raises InputError and Refused.
    """
    first = Cohort.open(folder)
    first.require_complete()
    outcome = context.decide(first, progress)
    draw = first.manifest.get("draw", {"number": 1, "resampled": {}})
    resampled, cohort = dict(draw["resampled"]), first
    for number in range(draw["number"] + 1, draw["number"] + 1 + regenerate):
        if outcome.passed or not outcome.mendable:
            break
        for name in sorted(outcome.mendable):
            resampled[name] = resampled.get(name, 0) + 1
        out = folder.with_name(f"{folder.name}.draw-{number}")
        progress(f"drawing {out.name}")
        before = digest(cohort.folder / MANIFEST)
        new = resample(first, out, resampled, number, watermark=context.watermark, workers=workers)
        details = {
            "cohort": out.name,
            "manifest_sha256": digest(out / MANIFEST),
            "resampled": dict(resampled),
        }
        Journal(cohort.folder).append(RESAMPLED, before, context.signer, details, once=True)
        context.note_access(
            f"selection: {out.name} drawn for the scores of {cohort.folder.name} ({before[:12]})"
        )
        cohort, outcome = new, context.decide(new, progress)
    return outcome


def resample(
    cohort: Cohort,
    out: Path,
    resampled: Mapping[str, int],
    number: int,
    *,
    watermark: Path | None = None,
    workers: int | None = None,
) -> Cohort:
    """The same patients in a new folder, some modalities resampled: `resampled` gives the draw of each by name.

    The other modalities' records are the same again, but for what they state of those drawn resampled. `number`
    counts the cohorts drawn, this one included, and stands in the manifest. Raises InputError when weights or
    software are no longer those of the first cohort, or its watermark's key is not given.
    """
    with using(recorded(cohort)):
        again = _resampled(cohort, out, resampled, number, watermark)
    if not again.complete:
        run(again, workers, watermark=watermark)
    return again


def _resampled(
    cohort: Cohort, out: Path, resampled: Mapping[str, int], number: int, watermark: Path | None
) -> Cohort:
    """The cohort of resample() with its manifest alone."""
    same = {key: cohort.manifest[key] for key in ("seed", "patients", "population", "weights", "software")}
    options = {n: own["options"] for n, own in cohort.manifest["modalities"].items() if "options" in own}
    population, chosen, seed = population_of(cohort), chosen_of(cohort), int(same["seed"])
    settings = header(population, chosen, cohort.patients, seed, cohort.folder, options)
    for key, there in same.items():
        if settings[key] != there:
            raise InputError(
                f"{cohort.folder}: cannot draw again, the {key} in force differ from those of its manifest"
            )
    settings = header(population, chosen, cohort.patients, seed, out, options, begun_on(cohort))
    if mark := cohort.manifest.get("watermark"):
        Mark.named(mark["key"], watermark)
        settings["watermark"] = mark
    settings["draw"] = {
        "number": number,
        "resampled": {name: draw for name, draw in resampled.items() if draw},
    }
    return Cohort.resume(out, settings)


def _write_artifacts(cohort: Cohort, body: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Card and data sheet for what may leave, the mark of quarantine for what may not."""
    if not body["verdict"]["passed"]:
        quarantine.put(cohort.folder, details)
        for name in (CROISSANT, DATASHEET):
            (cohort.folder / name).unlink(missing_ok=True)
        return
    quarantine.lift(cohort.folder)
    described = json.dumps(croissant.croissant(cohort, body), indent=1, ensure_ascii=False) + "\n"
    write_atomic(cohort.folder / CROISSANT, described.encode())
    write_atomic(cohort.folder / DATASHEET, croissant.datasheet(cohort, body).encode())


def _watermark_summary(cohort: Cohort, key: Mark | None) -> dict[str, Any]:
    """What a certificate says of the watermark: whose it is and, if the key was given, how surely it is there."""
    about: dict[str, Any] = {"key": cohort.manifest["watermark"]["key"]}
    if key is None:
        return {**about, "checked": False}
    found = read_watermark(cohort, key)
    return {
        **about,
        "checked": True,
        "samples_agreeing": found.whole.agree,
        "samples_marked": found.whole.of,
        "log10_false_positive_at_most": round(found.whole.log10_false_positive, 1),
        "patients_found": found.patients - len(found.without),
        "patients": found.patients,
    }


def _outcome(folder: Path, details: Mapping[str, Any], already_decided: bool = False) -> Outcome:
    return Outcome(
        folder,
        bool(details["passed"]),
        details["refused_by"],
        tuple(details["reasons"]),
        tuple(details["not_measured"]),
        frozenset(details["mendable"]),
        already_decided,
    )
