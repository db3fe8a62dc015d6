"""The command `polyclinic push`. Arguments, progress and exit codes; no logic."""

import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import Refused, listed
from ...core.text import say


def push(
    cohort: Annotated[Path, typer.Argument(help="Folder of a released cohort.")],
    to: Annotated[
        str,
        typer.Option(
            help="dicomweb+https://host/path, dicom://AET@host:port, fhir+https://host/path, s3://bucket/folder, "
            "file:///folder."
        ),
    ],
    unreleased: Annotated[
        bool, typer.Option("--unreleased", help="Send a cohort that no certificate lets out.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(help="Public key that must have signed the certificate: NAME.pub, or its hex."),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(help="Private key that signs the push in the cohort's audit log.")
    ] = None,
    auth: Annotated[
        Path | None,
        typer.Option(
            help="File with `bearer TOKEN` or `basic USER:PASSWORD`; or the variable POLYCLINIC_PUSH_AUTH."
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Certificates to trust, in PEM, in place of the system's.")
    ] = None,
    aet: Annotated[str, typer.Option(help="Our AE title, to an archive by C-STORE.")] = "POLYCLINIC",
    bundle: Annotated[str, typer.Option(help="FHIR: transaction or batch.")] = "transaction",
    import_from: Annotated[
        str | None,
        typer.Option(help="FHIR: tell the server to pull the NDJSON files from this URL ($import)."),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="What was sent where; COHORT.push.jsonl beside the cohort by default.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the target for everything; send what is not there any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; reach nobody.")] = False,
) -> None:
    """Send a released cohort to a PACS, a FHIR server or a bucket, each object once; some refused: exit code 3."""
    from ...core.progress import Progress
    from .run import push as run

    lines = Progress("sent", "objects")
    try:
        tally = run(
            cohort, to, unreleased=unreleased, key=key, sign=sign, auth=auth, ca=ca, aet=aet, bundle=bundle,
            import_from=import_from, journal=journal, check=check, dry_run=dry_run, progress=lines.show,
        )  # fmt: skip
    except KeyboardInterrupt:
        say("polyclinic: stopped; what went is in the journal: the same command goes on", aside=True)
        _leave_threads(130)
        raise typer.Exit(130) from None
    finally:
        lines.end()
    there = f"; {tally.held:,} were there" if tally.held else ""
    if tally.lost:
        there += f"; {tally.lost:,} had been sent before, and were not found there"
    if dry_run:
        say(f"would send {tally.sent:,} objects ({_size(tally.bytes)}) to {tally.target}{there}")
        return
    rate = (
        f" in {tally.seconds:.1f} s, {tally.sent / max(tally.seconds, 1e-9):,.0f} a second"
        if tally.sent
        else ""
    )
    say(f"sent {tally.sent:,} objects ({_size(tally.bytes)}) to {tally.target}{rate}{there}")
    if tally.refused:
        for reason, number in Counter(tally.refused.values()).most_common(10):
            names = [name for name, own in tally.refused.items() if own == reason]
            say(f"refused: {number:,}: {reason}: {listed(names, 3)}", aside=True)
        raise Refused(
            f"{tally.target}: refused {len(tally.refused):,} of {tally.done:,} objects; the others are there. The same "
            "command sends the refused ones again"
        )


def _leave_threads(code: int) -> None:
    """End now where a thread still waits for a server that hangs: Python would wait for it. The journal is closed."""
    if any(not t.daemon and t is not threading.main_thread() for t in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _size(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
