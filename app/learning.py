"""Commands on a hospital's data: train, and infer on the table it gives. Arguments, text and exit codes; no logic."""

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import InputError
from ..core.limits import require
from ..core.text import say
from .terminal import table as show_table


def train(
    modality: Annotated[
        str, typer.Argument(help="Name of an installed modality, or population: who the patients are.")
    ],
    data: Annotated[Path, typer.Option(help="Training folder: dataset.yaml beside the files.")],
    out: Annotated[Path, typer.Option(help="Weight file to write.")],
    config: Annotated[
        str | None, typer.Option(help="Training YAML by name or path: model, and data where not in --data.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Privacy budget a patient; needs --delta.")] = None,
    delta: Annotated[float | None, typer.Option(help="Less than 1 over the number of patients.")] = None,
    public: Annotated[bool, typer.Option("--public", help="The data are public: no budget.")] = False,
    limit: Annotated[
        float | None, typer.Option(help="Epsilon that the population may pay in all its trainings.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Where spending is booked; ledger.jsonl beside --out by default.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from, by name or file.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Cap on each fit.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the YAML's.")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, ... as Lightning names them.")] = "auto",
    devices: int = 1,
    precision: Annotated[
        str,
        typer.Option(help="auto (bf16-mixed where that is fast, else 32-true), or as Lightning names it."),
    ] = "auto",
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder that keeps checkpoints; else they go when done.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it is there.")] = False,
) -> None:
    """Train a modality on a folder of data, with a privacy budget or on public data."""
    from ..core.training.weights import read_card
    from .api import train as learn
    from .training import weight_file

    before = None if init is None else read_card(weight_file(init))  # now: --out may replace it
    made = learn(
        modality, data, out, public=public, epsilon=epsilon, delta=delta, limit=limit, ledger=ledger, config=config,
        init=init, overwrite=overwrite, checkpoints=checkpoints, seed=seed, max_minutes=max_minutes,
        accelerator=accelerator, devices=devices, precision=precision, resume=resume,
    )  # fmt: skip
    card = made.card
    planned = "" if card.complete else f" of {card.planned_steps}"
    steps = "step" if card.steps == 1 and card.complete else "steps"
    booked = "" if public else f"; charged in {ledger or out.with_name('ledger.jsonl')}"
    taken = f"{card.steps}{planned} {steps} in {card.seconds:.0f} s"
    if before is not None and card.steps > 0 and (card.steps, card.seconds) == (before.steps, before.seconds):
        taken = f"the network of --init {init}, which learnt nothing anew"
    say(f"{card.name}: {taken}, {card.privacy}, in {out}{booked}")


def infer(
    table: Annotated[
        Path, typer.Argument(help="File of `train population` with `inference` among its options.")
    ],
    kind: Annotated[str, typer.Argument(help="linear, logistic or cox.")],
    formula: Annotated[
        str,
        typer.Argument(help="'OUTCOME ~ TERM + TERM'; cox: 'TIME, EVENT ~ TERM'. Of words: COLUMN=LEVEL."),
    ],
    sets: Annotated[int, typer.Option(help="Synthetic sets to draw, 3 or more.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same sets.")] = 0,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="New folder that gets the sets as CSV.")] = None,
) -> None:
    """A regression on a private table, with intervals that count the noise of privacy."""
    from ..core.progress import Progress as Lines
    from .inference import infer as run

    require(sets=sets, seed=seed, level=level)
    if level == 1:
        raise InputError("--level: an interval that holds for certain is all numbers; ask for less, as 0.99")
    found = run(table, kind, formula, sets, seed, out, Lines("drew", "sets").show)
    rows = [[str(term), *(f"{row[name]:.4g}" for name in ("estimate", "error", "low", "high", "p"))]
            for term, row in found.intervals(level).iterrows()]  # fmt: skip
    show_table(["term", "estimate", "error", f"low {level:.0%}", f"high {level:.0%}", "p"], rows)
