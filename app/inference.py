"""Infer: a regression with intervals from a private table, by several synthetic sets; and the sets themselves."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError, listed
from ..core.limits import require
from ..eval.inference import Combined, combine
from ..eval.regression import Estimates, cox, linear, logistic

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("linear", "logistic", "cox")
SETS = 20


@dataclass(frozen=True)
class Formula:
    """`OUTCOME ~ TERM + TERM`; of Cox, `TIME, EVENT ~ TERM`. Of a column of words, `COLUMN=LEVEL`."""

    kind: str
    outcome: tuple[str, ...]
    terms: tuple[str, ...]

    @classmethod
    def parse(cls, kind: str, text: str) -> "Formula":
        """Raises InputError."""
        if kind not in KINDS:
            raise InputError(f"{kind!r} is no regression; expected one of: {', '.join(KINDS)}")
        left, tilde, right = text.partition("~")
        outcome = tuple(part.strip() for part in left.split(","))
        terms = tuple(part.strip() for part in right.split("+"))
        wanted = 2 if kind == "cox" else 1
        if not tilde or len(outcome) != wanted or not all((*outcome, *terms)) or len(set(terms)) < len(terms):
            form = "TIME, EVENT ~ TERM + TERM" if kind == "cox" else "OUTCOME ~ TERM + TERM"
            raise InputError(f"{kind}: expected `{form}`, each term once, got {text!r}")
        explained = {_name(part) for part in outcome}
        if both := [part for part in terms if _name(part) in explained]:
            raise InputError(f"{kind}: {both[0]} is the outcome and a term, in {text!r}; leave the term out")
        return cls(kind, outcome, terms)

    def fit(self, table: "pd.DataFrame") -> Estimates:
        """The regression on one table; rows in which a column that it names is empty are left out."""
        import pandas as pd

        parts = {name: _column(table, name) for name in (*self.outcome, *self.terms)}
        made = pd.DataFrame(parts).dropna()
        if self.kind == "cox":
            return cox(made, self.outcome[0], self.outcome[1], self.terms)
        return (linear if self.kind == "linear" else logistic)(made, self.outcome[0], self.terms)


def _name(text: str) -> str:
    """The column of `COLUMN=LEVEL`, or of `COLUMN`."""
    return text.partition("=")[0].strip()


def _column(table: "pd.DataFrame", text: str) -> "pd.Series[float]":
    """A column of numbers or flags, or whether a column has a level (`COLUMN=LEVEL`); NaN where empty."""
    import pandas as pd

    name, equals, level = (part.strip() for part in text.partition("="))
    if name not in table:
        raise InputError(
            f"{text}: no column {name!r}; the table has: {listed([str(c) for c in table.columns])}"
        )
    own = table[name]
    if equals:
        levels = sorted({str(value) for value in own.dropna()})
        if level not in levels:
            raise InputError(f"{text}: {name} has no level {level!r}; it has: {listed(levels)}")
        return own.map(str).eq(level).astype(float).where(own.notna())
    try:
        return pd.to_numeric(own).astype(float)
    except (TypeError, ValueError):
        levels = sorted({str(value) for value in own.dropna()})
        raise InputError(f"{name}: holds words; say which, as {name}={levels[0]}") from None


def draw_sets(
    table: Path | str, sets: int = SETS, seed: int = 0, rows: int | None = None
) -> Iterator["pd.DataFrame"]:
    """Synthetic sets of a private table, each from a draw of what is unsure about its parameters; one at a time.

    `table` is a file of `train population` with `inference` among its options. A set has as many rows as there were
    patients, or `rows`. Set k depends on the seed and k alone. Costs no budget. Raises InputError.
    """
    from ..conditioning.table.posterior import Posterior
    from ..conditioning.table.table_model import TableModel

    require(seed=seed)
    return Posterior(TableModel.load(Path(table)), str(table)).sets(sets, seed, rows)


def infer(
    table: Path | str,
    kind: str,
    formula: str,
    sets: int = SETS,
    seed: int = 0,
    out: Path | str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Combined:
    """A linear, logistic or Cox regression on the patients of a private table, from synthetic sets alone.

    `formula` as Formula has it. `out` is a new folder that gets the sets as CSV, for other programs. Raises InputError.
    """
    from ..core.cohort.disk import whole_folder

    asked = Formula.parse(kind, formula)
    require(sets=sets, seed=seed)
    drawn, found = draw_sets(table, sets, seed), []
    place: AbstractContextManager[Path | None] = nullcontext() if out is None else whole_folder(Path(out))
    with place as folder:
        for number, one in enumerate(drawn, 1):
            found.append(asked.fit(one))
            if folder is not None:
                one.to_csv(folder / f"set-{number:0{len(str(sets))}d}.csv", index=False)
            progress(number, sets)
    return combine(found)
