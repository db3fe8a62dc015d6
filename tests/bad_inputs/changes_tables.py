"""Changes of tables: ids, splits, records, cells, columns, the text of a CSV; series of readings; Parquet's types."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .bases import PEOPLE
from .case import HARMLESS, OTHER, REFUSED, TOLD, Change, Edit
from .changes_files import content

CELLS = (
    "nan",
    "NaN",
    "inf",
    "-inf",
    "-1",
    "1e300",
    "1e400",
    "old",
    "12,5",
    "1_000",
    "\u0663\u0664",
    "0x1F",
    "",
    " ",
    "1 000",
    "9" * 400,
    "=1+1",
    "\x1b[31m7",
    "[bold]7[/bold]",
    "true",
    "2024-01-01",
    "7\u00a0",
)
IDS = (
    "../../evil",
    "/etc/hostname",
    "a/b",
    "..",
    ".",
    "x" * 300,
    "a\x1b[31mb",
    "[bold]a[/bold]",
    "<b>a</b>",
    "nan",
    "-",
    "con\u202etxt",
)


def frame(path: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Edit:
    """An edit of a CSV or Parquet table, whose cells are text or as Parquet has them."""

    def edit(home: Path) -> None:
        place = home / path
        if place.suffix == ".parquet":
            change(pd.read_parquet(place)).to_parquet(place)
        else:
            change(pd.read_csv(place, dtype=str, keep_default_na=False)).to_csv(place, index=False)

    return edit


def cell(column: str, rows: Sequence[int], value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Puts a value into some rows of a column."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        out = table.astype({column: object})
        for row in rows:
            out.loc[row, column] = value
        return out

    return change


def of_patients(
    file: str,
    key: str = "mrn",
    record: str | None = "record",
    split: str | None = "split",
    number: str = "years",
    word: str = "sex",
) -> list[Change]:
    """Ids, splits, records and cells of a table of patients, the last quarter of whose rows is test."""
    name = (Path(file).name,)
    odd = lambda column, rows, value: frame(file, cell(column, rows, value))  # noqa: E731
    changes = [
        Change(f"{file}: a blank id", REFUSED, odd(key, [1], ""), (*name, key)),
        Change(f"{file}: an id of spaces", REFUSED, odd(key, [1, 2], "   "), (*name, key)),
        Change(
            f"{file}: all ids are one",
            REFUSED,
            frame(file, lambda t: t.assign(**{key: "same"})),
            (*name, key, "same"),
        ),
        Change(
            f"{file}: an id with a space behind",
            HARMLESS,
            frame(file, lambda t: t.assign(**{key: t[key] + " "})),
        ),
        Change(f"{file}: rows are shuffled", OTHER, frame(file, lambda t: t.sample(frac=1, random_state=1))),
        Change(f"{file}: one row alone", OTHER, frame(file, lambda t: t.iloc[:1]), ()),
        Change(f"{file}: no row", REFUSED, frame(file, lambda t: t.iloc[:0]), name),
        Change(
            f"{file}: a blank row",
            REFUSED,
            content(file, lambda b: b + b"," * b.split(b"\n")[0].count(b",") + b"\n"),
            name,
        ),
        Change(f"{file}: blank lines", HARMLESS, content(file, lambda b: b.replace(b"\n", b"\n\n", 3)), name),
        Change(f"{file}: columns in another order", HARMLESS, frame(file, lambda t: t[t.columns[::-1]])),
        Change(f"{file}: a column more", HARMLESS, frame(file, lambda t: t.assign(extra="x"))),
        Change(f"{file}: a column twice", REFUSED, content(file, _twice(number)), (*name, number)),
        Change(
            f"{file}: heads in capitals", REFUSED, frame(file, lambda t: t.rename(columns=str.upper)), name
        ),
        Change(
            f"{file}: heads with spaces",
            OTHER,
            frame(file, lambda t: t.rename(columns=lambda c: f" {c} ")),
            name,
        ),
        Change(f"{file}: no heads", REFUSED, content(file, lambda b: b.split(b"\n", 1)[1]), name),
        *(Change(f"{file}: id {value!r:.20}", OTHER, odd(key, [1], value)) for value in IDS),
        *(
            Change(f"{file}: {number} is {value!r:.20}", OTHER, odd(number, [1], value), (*name, number))
            for value in CELLS
        ),
        *(
            Change(f"{file}: {word} is {value!r:.20}", OTHER, odd(word, [1], value), (*name, word))
            for value in CELLS[:10:2]
        ),
        *_text(file, name),
        *(
            Change(
                f"{file}: without the column {column}",
                REFUSED,
                frame(file, lambda t, c=column: t.drop(columns=c)),
                (*name, column),
            )  # type: ignore[misc]
            for column in filter(None, (key, record, split, number, word))
        ),
    ]
    if split:
        changes += [
            Change(
                f"{file}: `Train ` in half the rows",
                TOLD,
                odd(split, range(4), "Train "),
                (*name, split, "train"),
            ),
            Change(
                f"{file}: `TRAIN` everywhere",
                OTHER,
                frame(file, lambda t: t.assign(**{split: t[split].str.upper()})),
                (*name, "train"),
            ),
            Change(
                f"{file}: a split of another name",
                TOLD,
                odd(split, [0, 1], "validation"),
                (*name, "validation"),
            ),
            Change(f"{file}: a blank split", TOLD, odd(split, [0, 1], ""), (*name, split)),
            Change(
                f"{file}: no test rows",
                REFUSED,
                frame(file, lambda t: t.assign(**{split: "train"})),
                (*name, "test"),
            ),
            Change(
                f"{file}: a patient on both sides",
                REFUSED,
                frame(file, _both(key, split, "{}")),
                (*name, key, "P000"),
            ),
            Change(
                f"{file}: a patient on both sides, a space behind",
                REFUSED,
                frame(file, _both(key, split, "{} ")),
                (*name, key, "P000"),
            ),
            Change(
                f"{file}: a patient on both sides, a no-break space behind",
                REFUSED,
                frame(file, _both(key, split, "{}\u00a0")),
                (*name, key, "P000"),
            ),
            Change(f"{file}: a patient on both sides in small letters", OTHER, frame(file, _small(key))),
        ]
    if record:
        changes += [
            Change(f"{file}: record {value!r:.20}", REFUSED, odd(record, [1], value))
            for value in (*IDS, "nowhere.png", "patients.csv", "/dev/zero", "")
        ] + [
            Change(
                f"{file}: a record under two ids across the split",
                REFUSED,
                frame(file, _same_record(record)),
                (*name, record, "r000"),
            ),
            Change(f"{file}: a file twice, under ids on both sides", TOLD, _copied(), (*name, "r000")),
            Change(f"{file}: a row twice", OTHER, frame(file, lambda t: pd.concat([t, t.iloc[:1]])), ()),
        ]
    return changes


def _twice(column: str) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        lines = text.decode().splitlines()
        return ("\n".join([f"{lines[0]},{column}", *(f"{line},5" for line in lines[1:])]) + "\n").encode()

    return change


def _both(key: str, split: str, form: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        again = table.iloc[-1:].assign(**{key: form.format(table[key].iloc[0])})
        return pd.concat([table.iloc[:-1], again])

    return change


def _small(key: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: pd.concat(
        [table.iloc[:-1], table.iloc[-1:].assign(**{key: table[key].iloc[0].lower()})]
    )


def _same_record(record: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: pd.concat(
        [table.iloc[:-1], table.iloc[-1:].assign(**{record: table[record].iloc[0]})]
    )


def _copied() -> Edit:
    """The last patient's files are those of the first."""

    def edit(home: Path) -> None:
        for path in sorted((home / "data").glob("r000*")):
            path.with_name(path.name.replace("r000", f"r{PEOPLE - 1:03d}")).write_bytes(path.read_bytes())

    return edit


def _text(file: str, name: tuple[str, ...]) -> list[Change]:
    """The text of a CSV."""

    def line(number: int, change: Callable[[bytes], bytes]) -> Edit:
        def edit(text: bytes) -> bytes:
            lines = text.split(b"\n")
            lines[number] = change(lines[number])
            return b"\n".join(lines)

        return content(file, edit)

    return [
        Change(
            f"{file}: a stray quote that swallows rows",
            REFUSED,
            line(2, lambda b: b.replace(b",", b',"', 1)),
            name,
        ),
        Change(f"{file}: a quote that is closed two rows on", REFUSED, content(file, _spanning), name),
        Change(f"{file}: a quote in a cell", OTHER, line(2, lambda b: b + b'"'), name),
        Change(f"{file}: a row with a cell more", REFUSED, line(2, lambda b: b + b",more"), name),
        Change(f"{file}: every row with a cell more", REFUSED, content(file, _wider), name),
        Change(f"{file}: a row with a cell less", TOLD, line(2, lambda b: b.rpartition(b",")[0]), name),
        Change(
            f"{file}: the last row is cut",
            TOLD,
            content(file, lambda b: b[: b.rstrip(b"\n").rfind(b",") - 4]),
            name,
        ),
        Change(f"{file}: semicolons", REFUSED, content(file, lambda b: b.replace(b",", b";")), name),
        Change(f"{file}: tabs", REFUSED, content(file, lambda b: b.replace(b",", b"\t")), name),
        Change(f"{file}: cells in quotes", HARMLESS, content(file, _quoted), name),
        Change(f"{file}: a comment above", REFUSED, content(file, lambda b: b"# made by x\n" + b), name),
        Change(f"{file}: a cell of ten million letters", OTHER, line(2, lambda b: b + b"x" * 10_000_000), ()),
    ]


def _spanning(text: bytes) -> bytes:
    lines = text.split(b"\n")
    lines[2] = lines[2].replace(b",", b',"', 1)
    lines[4] = lines[4].replace(b",", b'",', 1)
    return b"\n".join(lines)


def _wider(text: bytes) -> bytes:
    head, *rows = text.rstrip(b"\n").split(b"\n")
    return b"\n".join([head, *(row + b",more" for row in rows)]) + b"\n"


def _quoted(text: bytes) -> bytes:
    return b"\n".join(
        b",".join(b'"%s"' % cell for cell in row.split(b",")) for row in text.rstrip(b"\n").split(b"\n")
    )


def of_parquet(file: str) -> list[Change]:
    """The types that Parquet has and CSV has not."""
    name = (Path(file).name,)
    kinds: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
        "ids are numbers with a gap": (REFUSED, lambda t: t.assign(mrn=[np.nan, *range(1, len(t))])),
        "ids are None": (REFUSED, cell("mrn", [1], None)),
        "ids are NaT": (
            REFUSED,
            lambda t: t.assign(mrn=[pd.NaT, *pd.date_range("2024-01-01", periods=len(t) - 1)]),
        ),
        "ages are dates": (REFUSED, lambda t: t.assign(years=pd.date_range("2024-01-01", periods=len(t)))),
        "ages are spans": (REFUSED, lambda t: t.assign(years=pd.to_timedelta(range(len(t)), unit="h"))),
        "ages are lists": (REFUSED, lambda t: t.assign(years=[[50]] * len(t))),
        "ages are mappings": (REFUSED, lambda t: t.assign(years=[{"a": 1}] * len(t))),
        "ages are booleans": (OTHER, lambda t: t.assign(years=True)),
        "ages are bytes": (OTHER, lambda t: t.assign(years=[b"50"] * len(t))),
        "ages are text": (HARMLESS, lambda t: t.assign(years=t["years"].astype(str))),
        "ages are infinite": (REFUSED, lambda t: t.assign(years=np.inf)),
        "ages are all missing": (OTHER, lambda t: t.assign(years=np.nan)),
        "words are categories": (HARMLESS, lambda t: t.assign(sex=t["sex"].astype("category"))),
        "splits are booleans": (REFUSED, lambda t: t.assign(split=[True] * len(t))),
        "splits are numbers": (REFUSED, lambda t: t.assign(split=1)),
        "records are numbers": (OTHER, lambda t: t.assign(record=range(len(t)))),
        "reports are numbers": (OTHER, lambda t: t.assign(report=1.5)),
        "an index of ids": (OTHER, lambda t: t.set_index("mrn")),
        "no column": (REFUSED, lambda t: t[[]]),
    }
    return [
        Change(f"{file}: {what}", expect, frame(file, change), name)
        for what, (expect, change) in kinds.items()
    ]


def of_series(file: str, value: str) -> list[Change]:
    """Hours, stays and readings of a table of readings; `value` is its column of numbers."""
    name = (Path(file).name,)
    half = lambda t: t[t["stay"] < "r006"]  # noqa: E731
    kinds: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
        "nobody's": (REFUSED, lambda t: t.assign(stay="zz" + t["stay"])),
        "of half the patients": (TOLD, half),
        "of one patient less": (TOLD, lambda t: t[t["stay"] != "r002"]),
        "empty": (REFUSED, lambda t: t.iloc[:0]),
        "an hour missing": (TOLD, cell("hour", [3], "")),
        "an hour NaN": (TOLD, cell("hour", [3], "NaN")),
        "an hour infinite": (TOLD, cell("hour", [3], "inf")),
        "an hour of 1e300": (TOLD, cell("hour", [3], "1e300")),
        "an hour a word": (TOLD, cell("hour", [3], "later")),
        "negative hours": (HARMLESS, lambda t: t.assign(hour=(t["hour"].astype(float) - 3).astype(str))),
        "half hours": (TOLD, lambda t: t.assign(hour=(t["hour"].astype(float) / 2).astype(str))),
        "hours as dates": (
            OTHER,
            lambda t: t.assign(hour=[f"2024-01-01T{int(h):02d}:00:00" for h in t["hour"]]),
        ),
        "hours as mixed dates": (TOLD, cell("hour", [3], "2024-01-01T03:00:00")),
        "hours as spans": (OTHER, lambda t: t.assign(hour=[f"{int(h):02d}:00:00" for h in t["hour"]])),
        "hours from a thousand on": (
            HARMLESS,
            lambda t: t.assign(hour=(t["hour"].astype(float) + 1000).astype(str)),
        ),
        "hours beyond the end": (TOLD, cell("hour", [3, 5], "1000")),
        "rows shuffled": (HARMLESS, lambda t: t.sample(frac=1, random_state=2)),
        "a row twice": (OTHER, lambda t: pd.concat([t, t.iloc[3:4]])),
        "a row twice with another value": (
            TOLD,
            lambda t: pd.concat([t, t.iloc[3:4].assign(**{value: "99"})]),
        ),
        "a blank stay": (TOLD, cell("stay", [3], "")),
        "a reading a word": (TOLD, cell(value, [3], "high")),
        "a reading infinite": (TOLD, cell(value, [3], "inf")),
        "a reading of 1e300": (TOLD, cell(value, [3], "1e300")),
        "a reading negative": (TOLD, cell(value, [3], "-5")),
        "a reading missing": (TOLD, cell(value, [3], "")),
        "all readings missing": (TOLD, lambda t: t.assign(**{value: ""})),
        "all readings beyond range": (TOLD, lambda t: t.assign(**{value: "9999"})),
        "without hours": (REFUSED, lambda t: t.drop(columns="hour")),
        "without stays": (REFUSED, lambda t: t.drop(columns="stay")),
        "without readings": (REFUSED, lambda t: t.drop(columns=value)),
        "a stay of ten million hours": (TOLD, cell("hour", [5], "10000000")),
        "a stay with escapes": (TOLD, cell("stay", [3], "\x1b[31mr002")),
    }
    return [
        Change(
            f"{file}: {what}",
            expect,
            frame(file, change),
            () if expect == OTHER else (*name, "hour", value, "stay"),
        )
        for what, (expect, change) in kinds.items()
    ] + _text(file, name)
