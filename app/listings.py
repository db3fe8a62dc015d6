"""Commands that list: modalities, weights, and what a ledger has booked. Arguments and text; no logic."""

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import InputError
from .terminal import table


def modalities() -> None:
    """What is installed: each modality, who has its records, which weights it reads."""
    from ..core.registry import checked, names, package_of
    from ..core.training import weights

    rows, there = [], weights.available()
    found, broken = checked("modalities")
    for name, point in names("modalities").items():
        if name in broken:
            rows.append([name, f"cannot be used: {broken[name]}", "", package_of(point)])
            continue
        asked = found[name].weights()
        used = [w if w in there else f"{w} (missing)" for w in asked]
        rows.append([name, found[name].indication, ", ".join(used) or "none needed", package_of(point)])
        for other in sorted(w for w in there if asked and w.startswith(f"{asked[0]}-")):
            second = f"{name}:{other.removeprefix(f'{asked[0]}-')}"  # a second set, on weights of its own
            rows.append([second, f"where asked for (--modalities ...,{second})", other, package_of(point)])
    table(["modality", "who has a record", "weights", "package"], rows)


def show_weights(
    file: Annotated[
        Path | None, typer.Argument(help="A weight file, or a name of the list: its whole card, as JSON.")
    ] = None,
) -> None:
    """The weight files in force: what each was trained on and at which privacy cost."""
    from ..core.training import weights

    if file is not None:
        path = file if file.exists() else weights.available().get(str(file), file)
        typer.echo(weights.read_card(path).model_dump_json(indent=2))
        return
    rows = []
    for name, path in weights.available().items():
        card = weights.read_card(path)
        seen = dict.fromkeys(f"{d.name} ({d.licence}), {d.patients or 'unknown'} patients" for d in card.data)
        data = "; ".join(seen)
        rows.append([name, card.modality, card.kind, data, card.privacy, str(card.steps), _size(path)])
    table(["weights", "modality", "kind", "trained on", "privacy", "steps", "size"], rows)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def ledger(file: Annotated[Path, typer.Argument(help="A ledger that `train` has written.")]) -> None:
    """What each real population has paid, run by run and in all."""
    if not file.is_file():
        raise InputError(f"{file}: no such ledger; `polyclinic train --epsilon ...` writes one")
    from ..core.dp.ledger import Ledger

    book = Ledger(file)
    entries = book.entries()
    rows = [
        [e.population, e.purpose, str(e.patients), str(e.steps), f"{e.noise_multiplier:.3g}",
         f"{e.delta:g}", f"{e.epsilon_rdp:.2f}", f"{e.epsilon_prv:.2f}"]
        for e in entries
    ]  # fmt: skip
    for population in dict.fromkeys(e.population for e in entries):
        delta = max(e.delta for e in entries if e.population == population)
        spent = [f"{book.spent(population, delta, accountant):.2f}" for accountant in ("rdp", "prv")]
        rows.append([population, "in all", "", "", "", f"{delta:g}", *spent])
    heads = ["population", "purpose", "patients", "steps", "noise", "delta", "epsilon (RDP)", "epsilon (PRV)"]
    table(heads, rows)
