"""Changes of signal files: the lines of a WFDB header and the fields of an EDF header, and the samples of both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .case import HARMLESS, OTHER, REFUSED, TOLD, Change
from .changes_files import content

RATES = (
    "0",
    "-100",
    "nan",
    "inf",
    "1e300",
    "",
    "x",
    "1e-9",
    "1e12",
    "100(0)",
    "0x64",
    "49",
    "100/0",
    "9" * 400,
)
LENGTHS = ("0", "-1", "10000000000000", "999", "1001", "x", "nan", "1e6", "9" * 400, "")
COUNTS = ("0", "-2", "1", "3", "1000000", "x", "2.5", "9" * 400)
GAINS = (
    "0",
    "-1000",
    "nan",
    "inf",
    "1e300",
    "1e-300",
    "x",
    "",
    "1000(99999999999)",
    "1000(x)/mV",
    "1000/V",
    "1000/uV",
    "1000/kg",
    "9" * 400,
)
FORMATS = (
    "0",
    "8",
    "80",
    "212",
    "24",
    "32",
    "61",
    "311",
    "508",
    "999",
    "x",
    "-16",
    "16x2",
    "16x0",
    "16x1000000",
    "16:99",
    "16+99999999999",
    "16+-5",
)
FILES = (
    "../../evil.dat",
    "/etc/hostname",
    "/dev/zero",
    "..",
    "nowhere.dat",
    "x" * 300 + ".dat",
    "~",
    "-",
    "r001.dat",
    "r000.hea",
    "a\x1b[31m.dat",
)


def of_wfdb(record: str) -> list[Change]:
    """A record of two signals in one file of format 16."""
    head, data = f"data/{record}.hea", f"data/{record}.dat"
    name = (record,)

    def line(number: int, change: Callable[[list[str]], list[str]]) -> Callable[[bytes], bytes]:
        def edit(text: bytes) -> bytes:
            lines = text.decode().splitlines()
            lines[number] = " ".join(change(lines[number].split(" ")))
            return ("\n".join(lines) + "\n").encode()

        return edit

    def word(number: int, place: int, value: str) -> Callable[[bytes], bytes]:
        return line(number, lambda words: [*words[:place], *([value] if value else []), *words[place + 1 :]])

    changes = [
        *(
            Change(
                f"{head}: rate {v!r:.14}",
                REFUSED if v not in ("100(0)", "49", "100/0") else OTHER,
                content(head, word(0, 2, v)),
                name,
            )
            for v in RATES
        ),
        *(
            Change(
                f"{head}: length {v!r:.20}",
                REFUSED if v not in ("", "999") else OTHER,
                content(head, word(0, 3, v)),
                name,
            )
            for v in LENGTHS
        ),
        *(Change(f"{head}: signals {v!r:.14}", REFUSED, content(head, word(0, 1, v)), name) for v in COUNTS),
        *(
            Change(
                f"{head}: gain {v!r:.20}",
                OTHER if v in ("-1000", "1000/V", "1000/uV", "1e-300", "1000(99999999999)") else REFUSED,
                content(head, word(1, 2, v)),
                name,
            )
            for v in GAINS
        ),
        *(
            Change(
                f"{head}: format {v!r:.20}",
                OTHER if v in ("8", "80", "212", "61") else REFUSED,
                content(head, word(1, 1, v)),
                name,
            )
            for v in FORMATS
        ),
        *(
            Change(
                f"{head}: file {v!r:.20}",
                OTHER if v == "r001.dat" else REFUSED,
                content(head, word(1, 0, v)),
                name,
            )
            for v in FILES
        ),
        Change(f"{head}: no rate and no length", REFUSED, content(head, line(0, lambda w: w[:2])), name),
        Change(f"{head}: another record's name", OTHER, content(head, word(0, 0, "other")), name),
        Change(f"{head}: name of a path", OTHER, content(head, word(0, 0, "../../evil")), name),
        Change(
            f"{head}: a segment of itself",
            REFUSED,
            content(head, lambda _: f"{record}/1 2 100 1000\n{record} 1000\n".encode()),
            name,
        ),
        Change(
            f"{head}: a segment upwards",
            REFUSED,
            content(head, lambda _: f"{record}/1 2 100 1000\n../../evil 1000\n".encode()),
            name,
        ),
        Change(
            f"{head}: a gap of a giant",
            REFUSED,
            content(
                head, lambda _: f"{record}/2 2 100 10000000001000\n~ 10000000000000\nr001 1000\n".encode()
            ),
            name,
        ),
        Change(
            f"{head}: a segment's length a word",
            REFUSED,
            content(head, lambda _: f"{record}/1 2 100 1000\nr001 x\n".encode()),
            name,
        ),
        Change(f"{head}: comments alone", REFUSED, content(head, lambda _: b"# nothing\n"), name),
        Change(
            f"{head}: a line less",
            REFUSED,
            content(head, lambda b: b"\n".join(b.split(b"\n")[:2]) + b"\n"),
            name,
        ),
        Change(f"{head}: a line more", OTHER, content(head, lambda b: b + b.split(b"\n")[1] + b"\n"), name),
        Change(
            f"{head}: two leads of one name",
            REFUSED,
            content(head, lambda b: b.replace(b" II\n", b" I\n")),
            (*name, "lead"),
        ),
        Change(
            f"{head}: a lead of escapes",
            OTHER,
            content(head, lambda b: b.replace(b" II\n", b" \x1b[31mII\n")),
            (),
        ),
        Change(
            f"{head}: a million comments", HARMLESS, content(head, lambda b: b + b"# x\n" * 100_000), name
        ),
        Change(f"{data}: half the samples", REFUSED, content(data, lambda b: b[: len(b) // 2]), name),
        Change(f"{data}: a byte less", REFUSED, content(data, lambda b: b[:-1]), name),
        Change(f"{data}: twice the samples", TOLD, content(data, lambda b: b + b), name),
        Change(f"{data}: flat", TOLD, content(data, lambda b: bytes(len(b))), ()),
        Change(
            f"{data}: invalid samples",
            REFUSED,
            content(data, lambda b: np.full(len(b) // 2, -32768, "<i2").tobytes()),
            name,
        ),
        Change(
            f"{data}: some invalid samples",
            TOLD,
            content(data, lambda b: b[:400] + np.full(100, -32768, "<i2").tobytes() + b[600:]),
            name,
        ),
        Change(
            f"{data}: clipped",
            TOLD,
            content(data, lambda b: np.clip(np.frombuffer(b, "<i2"), -10, 10).astype("<i2").tobytes()),
            (),
        ),
        Change(
            f"{data}: other samples than its checksum", TOLD, content(data, lambda b: b[2:] + b[:2]), name
        ),
    ]
    return changes


FIELDS = {  # name -> (offset, width) in an EDF header of two signals
    "version": (0, 8),
    "start date": (168, 8),
    "start time": (176, 8),
    "header bytes": (184, 8),
    "reserved": (192, 44),
    "records": (236, 8),
    "seconds a record": (244, 8),
    "signals": (252, 4),
    "label": (256, 16),
    "unit": (448, 8),
    "physical minimum": (464, 8),
    "physical maximum": (480, 8),
    "digital minimum": (496, 8),
    "digital maximum": (512, 8),
    "samples a record": (688, 8),
}
VALUES = ("", "0", "-1", "nan", "inf", "1e9", "99999999", "x", "1e300", "-32768", "\xff\xff", "\x1b[31m")
FREE = ("version", "start date", "start time", "reserved", "label", "unit")  # may hold other words


def of_edf(file: str) -> list[Change]:
    """The fields of its header by bad values, and its data cut."""
    name = (Path(file).name, Path(file).stem)

    def field(place: int, width: int, value: str) -> Callable[[bytes], bytes]:
        return lambda b: b[:place] + value.encode("latin-1").ljust(width)[:width] + b[place + width :]

    changes = [
        Change(
            f"{file}: {what} is {value!r:.12}",
            OTHER,
            content(file, field(*place, value)),
            name if what not in FREE else (),
        )
        for what, place in FIELDS.items()
        for value in VALUES
    ]
    return [
        *changes,
        Change(f"{file}: extremes alike", REFUSED, content(file, field(464, 8, "8")), name),
        Change(f"{file}: steps alike", REFUSED, content(file, field(496, 8, "32767")), name),
        Change(f"{file}: header alone", REFUSED, content(file, lambda b: b[:768]), name),
        Change(f"{file}: half a header", REFUSED, content(file, lambda b: b[:400]), name),
        Change(f"{file}: a record less", TOLD, content(file, lambda b: b[:-400]), name),
        Change(f"{file}: a byte less", TOLD, content(file, lambda b: b[:-1]), name),
        Change(f"{file}: a record more", TOLD, content(file, lambda b: b + bytes(400)), name),
        Change(f"{file}: BDF", REFUSED, content(file, lambda b: b"\xffBIOSEMI" + b[8:]), name),
    ]
