"""Certificate: what a release says of a cohort, signed; how it is composed, written and read again."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from ... import __version__
from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.disk import write_atomic
from ...core.cohort.journal import APPROVED, JUDGED, Event, Journal
from ...core.cohort.signing import SIGNATURES, Signer, canonical, signed_by
from ...core.config import read_json
from ...core.dp.ledger import Ledger
from ...core.errors import InputError
from ...core.training.weights import digest, read_card
from ...eval.attacks.audit_record import weights_of
from ...eval.policy import Policy
from ...eval.verdict import Verdict

FORMAT, VERSION = "polyclinic-certificate", 3
PAYLOAD_TYPE = "application/vnd.polyclinic.certificate+json"
CERTIFICATE, ENVELOPE = "certificate.json", "certificate.dsse.json"
SCORES, REPORT, CROISSANT, DATASHEET = "scores.json", "report.html", "croissant.json", "datasheet.md"
STATEMENT = (
    "This certificate says what was measured on this cohort, against which limits, and what was not measured. It does "
    "not say that the data are anonymous, nor that any law does not apply to them. Whoever lets them out decides that."
)
SELECTION = (
    "{drawn} cohorts of the same patients were drawn, {names} resampled each time, and the first whose figures passed "
    "was kept. To choose by figures measured on real records tells a little about these; no budget was charged for it."
)


def fingerprint(values: Mapping[str, Any]) -> str:
    """sha256 of plain JSON values."""
    return sha256(canonical(values)).hexdigest()


def compose(
    cohort: Cohort,
    policy: Policy,
    verdict: Verdict,
    *,
    reference: Mapping[str, Any],
    cards: Sequence[Mapping[str, Any]],
    ledgers: Sequence[Mapping[str, Any]],
    watermark: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All of a certificate but the hashes of the other artifacts, the journal's head and the signature."""
    manifest = digest(cohort.folder / MANIFEST)
    events = [event for event in Journal(cohort.folder).events() if event.subject == manifest]
    terms = policy.model_dump(mode="json")
    now = datetime.now(UTC)
    return {
        "format": FORMAT,
        "version": VERSION,
        "statement": STATEMENT,
        "cohort": {
            "manifest_sha256": manifest,
            "name": cohort.manifest["population"]["name"],
            "patients": cohort.patients,
            "files": len(cohort.manifest["files"]),
        },
        "policy": {"sha256": fingerprint(terms), **terms},
        "verdict": {
            "passed": verdict.passed,
            "refused_by": verdict.refused_by,
            "reasons": verdict.reasons,
            "not_measured": [str(check) for check in verdict.unmeasured],
            "checks": [check.to_dict() for check in verdict.checks],
        },
        "other_verdicts": _others(events, fingerprint(terms)),
        "selection": selection(cohort.manifest),
        "reference": dict(reference),
        "weights": [dict(card) for card in cards],
        "ledgers": [dict(book) for book in ledgers],
        "watermark": watermark,
        "approvals": _approvals(events, fingerprint(terms)),
        "software": {**cohort.manifest["software"], "judged_with": f"polyclinic {__version__}"},
        "issued": now.isoformat(timespec="seconds"),
        "retain_until": (now + timedelta(days=policy.terms.retention_days)).date().isoformat(),
    }


def write(folder: Path, body: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """Seal the artifacts in the folder and the journal as it stands: certificate.json and its DSSE envelope."""
    artifacts = {
        name: digest(path)
        for name in (SCORES, REPORT, CROISSANT, DATASHEET)
        if (path := folder / name).exists()
    }
    chain = Journal(folder).chain
    journal = {"lines": len(chain.lines()), "head": chain.head()}
    certificate = {**body, "artifacts": artifacts, "journal": journal, "signed_by": signer.public}
    seal(folder, certificate, signer)
    return certificate


def seal(folder: Path, certificate: Mapping[str, Any], signer: Signer) -> None:
    """Write certificate.json for people, and beside it the DSSE envelope that holds the same bytes."""
    content = _bytes(certificate)
    envelope = {"payloadType": PAYLOAD_TYPE, "payload": b64encode(content).decode()}
    write_atomic(folder / ENVELOPE, _bytes({**envelope, SIGNATURES: signer.sign(PAYLOAD_TYPE, content)}))
    write_atomic(folder / CERTIFICATE, content)


def read(folder: Path) -> dict[str, Any]:
    """The certificate of a folder, its signature checked. Raises InputError: there is none, or it was changed."""
    path = folder / CERTIFICATE
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(f"{path}: no certificate there; polyclinic release writes one") from None
    try:
        certificate: dict[str, Any] = read_json(content)
        version = certificate["format"], certificate["version"]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: changed since it was signed") from None
    if version != (FORMAT, VERSION):
        raise InputError(
            f"{path}: expected {FORMAT} version {VERSION}, got {version[0]} version {version[1]}; draw the cohort "
            "again and release that to have one"
        )
    sealed = folder / ENVELOPE
    try:
        envelope = read_json(sealed.read_bytes())
        whole = sealed.read_bytes() == _bytes(
            {
                "payloadType": PAYLOAD_TYPE,
                "payload": b64encode(content).decode(),
                SIGNATURES: envelope[SIGNATURES],
            }
        )
        by = signed_by(PAYLOAD_TYPE, content, envelope[SIGNATURES])
    except (OSError, ValueError, TypeError, KeyError):
        whole, by = False, None
    if not whole or by is None or by != certificate.get("signed_by"):
        raise InputError(f"{path}: changed since it was signed in {ENVELOPE}, or that is not its envelope")
    return certificate


def selection(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """How many cohorts were drawn before this one was kept; None if it was the first."""
    if (draw := manifest.get("draw")) is None:
        return None
    names = " and ".join(draw["resampled"])
    return {**draw, "in_words": SELECTION.format(drawn=draw["number"], names=names)}


def cards_of(cohort: Cohort) -> list[dict[str, Any]]:
    """What the weights of a cohort, and its table of profiles, were learnt from and at which privacy cost.

    A file in force whose hash is not that of the manifest is not `known`; nor is one that is neither public nor
    states an epsilon.
    """
    return [_card(name, path, sha) for name, path, sha in weights_of(cohort.manifest)]


def _card(name: str, path: Path | None, sha: str) -> dict[str, Any]:
    if path is None:
        return {"name": name, "sha256": sha, "known": False, "epsilon": None}
    card = read_card(path)
    return {
        "name": name,
        "sha256": sha,
        "known": card.epsilon is not None or card.privacy == "public",
        "privacy": card.privacy,
        "epsilon": card.epsilon,
        "delta": card.delta,
        "data": [used.model_dump(mode="json") for used in card.data],
    }


def ledger_of(path: Path) -> dict[str, Any]:
    """What a ledger says: its hash and head, and what each population has paid. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such ledger")
    book = Ledger(path)
    entries = book.entries()
    spent = {}
    for population in dict.fromkeys(entry.population for entry in entries):
        delta = max(entry.delta for entry in entries if entry.population == population)
        epsilon = {name: round(book.spent(population, delta, name), 4) for name in ("rdp", "prv")}
        spent[population] = {"delta": delta, **{f"epsilon_{name}": value for name, value in epsilon.items()}}
    return {
        "sha256": digest(path),
        "head": book.chain.head(),
        "entries": len(entries),
        "spent": spent,
    }


def _others(events: Sequence[Event], policy: str) -> list[dict[str, Any]]:
    """Verdicts of other policies on this very cohort, so that shopping for a policy is seen."""
    kept = ("policy", "policy_sha256", "passed", "refused_by")
    return [
        {"time": event.time, **{key: event.details.get(key) for key in kept}}
        for event in events
        if event.event == JUDGED and event.details.get("policy_sha256") != policy
    ]


def _approvals(events: Sequence[Event], policy: str) -> list[dict[str, Any]]:
    return [
        {"role": event.details["role"], "by": event.by, "time": event.time, "comment": event.details["comment"],
         "had_seen_scores": event.details["scores_sha256"] is not None}
        for event in events
        if event.event == APPROVED and event.details["policy_sha256"] == policy
    ]  # fmt: skip


def _bytes(certificate: Mapping[str, Any]) -> bytes:
    return (json.dumps(certificate, indent=1, allow_nan=False) + "\n").encode()
