"""The command `polyclinic view`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from ...core.limits import require
from ...core.text import say


def view(
    cohort: Annotated[Path, typer.Argument(help="Folder of a finished cohort.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="[COHORT2]", help="Another one to compare it with.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback with --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 is any that is free.")] = 8777,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that whoever looks must know.")
    ] = None,
    generate: Annotated[
        Path | None,
        typer.Option(
            help="Folder for cohorts drawn from the page; beside the cohort by default, beyond loopback none."
        ),
    ] = None,
    no_generate: Annotated[
        bool, typer.Option("--no-generate", help="Draw no cohorts from the page.")
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger of a training, to be shown with the certificate.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Show a cohort in the browser: its patients, their records, a live ward; nothing is sent elsewhere."""
    from .serve import serve

    require(port=port)
    serve(
        cohort, other, host=host, port=port, token_file=token_file, generate=generate, no_generate=no_generate,
        ledger=ledger, open_page=not no_open, report=_say,
    )  # fmt: skip


def _say(text: str) -> None:
    say(f"polyclinic: {text}", aside=True)
