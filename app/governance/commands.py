"""Governance commands: keys, release, approve, verify, purge. Arguments and exit codes; no logic."""

from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import InputError, Refused, listed
from ...core.limits import require
from ...core.text import say

Folder = Annotated[Path, typer.Argument(help="Folder of a finished cohort.")]
Policy = Annotated[
    str, typer.Option(help="Name of a shipped policy (internal, partner, public), or a YAML file.")
]
Key = Annotated[Path, typer.Option(help="Your private key, as `polyclinic keys` makes it.")]
MarkKey = Annotated[Path | None, typer.Option(help="Key file of the cohort's watermark.")]


def keys(
    file: Annotated[Path, typer.Argument(help="File for the private key; the public one goes to FILE.pub.")],
    watermark: Annotated[
        bool, typer.Option("--watermark", help="A watermark's key, which has no public half.")
    ] = False,
) -> None:
    """Make a key to sign with, or a watermark's key."""
    if watermark:
        from ...core.cohort.watermark import Mark

        say(
            f"watermark key {Mark.new(file).fingerprint} in {file}: keep it secret, whoever has it can forge the mark"
        )
        return
    from ...core.cohort.signing import new_key

    say(f"{new_key(file)} is the public key, also in {file}.pub; keep {file} secret")


def release(
    cohort: Folder,
    policy: Policy,
    key: Key,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Real data with held-out rows, or modality=DIR; may be repeated; else privacy is not measured."
        ),
    ] = None,
    ledger: Annotated[
        list[Path] | None, typer.Option(help="A ledger of the weights; may be repeated.")
    ] = None,
    watermark_key: MarkKey = None,
    regenerate: Annotated[
        int,
        typer.Option(help="Resample failing modalities, at most so many times; keep what passes first."),
    ] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Processes that draw; as in generate by default.")
    ] = None,
) -> None:
    """Judge a cohort by a policy; it leaves with a signed certificate, or stays in quarantine (exit code 3)."""
    from ...eval.verdict import grouped
    from ..references import parse
    from .release import ReleaseContext
    from .release import release as run

    require(regenerate=regenerate, workers=workers)
    context = ReleaseContext.load(policy, key, parse(reference or []), tuple(ledger or ()), watermark_key)
    outcome = run(cohort, context, regenerate=regenerate, workers=workers, progress=_say)
    if outcome.unmeasured:
        say(f"not measured: {len(outcome.unmeasured)} figures; certificate.json names each")
    if not outcome.passed:
        for line in grouped(outcome.reasons):
            say(f"refused: {line}")
        again = ", as before: its figures stand" if outcome.already_decided else ""
        by = f"{outcome.refused_by} of policy {context.policy.name}{again}"
        raise Refused(f"{outcome.folder}: refused by {by}; it is in quarantine")
    say(f"released under policy {context.policy.name}: {outcome.folder / 'certificate.json'}")


def approve(
    cohort: Folder,
    role: Annotated[str, typer.Option(help="owner, generator, validator or steward.")],
    policy: Policy,
    key: Key,
    comment: Annotated[str, typer.Option(help="Kept in the journal and the certificate.")] = "",
) -> None:
    """Approve in a role: this cohort may leave under this policy."""
    from .retention import approve as run

    event = run(cohort, role, policy, key, comment)
    say(f"approved as {role} under policy {event.details['policy']} by {event.by}")


def verify(
    cohort: Folder,
    key: Annotated[
        str | None, typer.Option(help="Public key that must have signed: NAME.pub, or its hex.")
    ] = None,
    watermark_key: MarkKey = None,
    progress: Annotated[
        Path | None,
        typer.Option(help="File that notes how far the check has come; one that was stopped goes on."),
    ] = None,
) -> None:
    """Check every hash, the signature, the journal and the watermark; what was changed is named (exit code 3)."""
    from ...core.cohort.signing import read_public
    from .verification import verify as run

    found = run(cohort, None if key is None else read_public(key), watermark_key, progress)
    for line in found.notes:
        say(line)
    if found.problems:
        first, *others = found.problems
        if not found.released:
            raise Refused(f"{cohort}: {first}" + (f": {listed(others)}" if others else ""))
        if not others:
            raise Refused(f"{cohort}: not as it was certified: {first}")
        for line in found.problems:
            say(f"wrong: {line}")
        raise Refused(f"{cohort}: not as it was certified: {len(found.problems)} things are wrong")
    say(f"verified: {cohort}")


def purge(
    cohort: Folder,
    key: Key,
    reason: Annotated[str, typer.Option(help="Kept in the journal.")] = "",
    early: Annotated[bool, typer.Option("--early", help="Before the date in the certificate.")] = False,
) -> None:
    """Delete a cohort's files; its manifest, scores, certificate and journal stay."""
    from .retention import purge as run

    say(f"{run(cohort, key, reason, early)} files deleted from {cohort}; the journal stays and says so")


def journal(cohort: Folder) -> None:
    """What happened to a cohort: who measured, judged, approved, purged."""
    from ...core.cohort.journal import Journal

    events = Journal(cohort).events()
    if not events:
        raise InputError(f"{cohort}: no journal there; polyclinic release and approve write one")
    for event in events:
        details = ", ".join(
            f"{key} {value}" for key, value in event.details.items() if isinstance(value, str | bool)
        )
        say(f"{event.time}  {event.event:9}  by {event.by[:16]}  {details}")


def _say(title: str) -> None:
    say(title, aside=True)


COMMANDS = (keys, release, approve, verify, purge, journal)
