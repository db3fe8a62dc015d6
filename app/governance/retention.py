"""Retention and approval: approve a cohort in a role, and delete it when its retention date has come."""

from datetime import UTC, datetime
from pathlib import Path

from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.journal import APPROVED, PURGED, Event, Journal
from ...core.cohort.signing import Signer
from ...core.config import load
from ...core.errors import InputError
from ...core.paths import inside
from ...core.training.weights import digest
from ...eval.policy import Policy
from .certificate import CERTIFICATE, REPORT, SCORES, fingerprint, read


def approve(folder: Path, role: str, policy: str, key: Path, comment: str = "") -> Event:
    """Approve in a role: this cohort may leave under this policy. Raises InputError."""
    cohort, signer = Cohort.open(folder), Signer.load(key)
    cohort.require_complete()
    terms = load(Policy, policy, "policy")[0]
    if role not in terms.terms.roles:
        raise InputError(f"policy {terms.name} asks for {', '.join(terms.terms.roles)}, not for {role!r}")
    allowed = dict(terms.terms.keys).get(role)
    if allowed is not None and signer.public not in allowed:
        raise InputError(f"{key}: policy {terms.name} names other keys for the {role}")
    scores = cohort.folder / SCORES
    details = {
        "role": role,
        "policy": terms.name,
        "policy_sha256": fingerprint(terms.model_dump(mode="json")),
        "scores_sha256": digest(scores) if scores.exists() else None,
        "comment": comment,
    }
    return Journal(folder).append(APPROVED, digest(folder / MANIFEST), signer, details)


def purge(folder: Path, key: Path, reason: str, early: bool = False) -> int:
    """Delete a cohort's files and the report's pictures; manifest, scores, certificate and journal stay. How many went.

    Noted in the journal before the first file goes, so that a purge that was cut short is completed by another.
    Raises InputError: the retention date has not come and `early` is not set.
    """
    cohort, signer = Cohort.open(folder), Signer.load(key)
    kept = read(folder)["retain_until"] if (folder / CERTIFICATE).exists() else None
    today = datetime.now(UTC).date().isoformat()
    if kept is not None and today < kept and not early:
        raise InputError(f"{folder}: to be kept until {kept}; purge it sooner with --early")
    names = [*cohort.manifest.get("files", {}), REPORT]
    paths = [path for name in names if (path := inside(folder, name, str(folder / MANIFEST))).is_file()]
    details = {"files": len(paths), "early": kept is not None and today < kept, "reason": reason}
    subject = digest(folder / MANIFEST)
    journal = Journal(folder)
    if not any(event.of(PURGED, subject) for event in journal.events()):
        journal.append(PURGED, subject, signer, details)
    for path in paths:
        path.unlink()
    for place in sorted({parent for path in paths for parent in path.parents}, key=lambda p: -len(p.parts)):
        if folder in place.parents and not any(place.iterdir()):
            place.rmdir()
    return len(paths)
