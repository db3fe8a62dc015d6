"""Journal: the audit log of a cohort, hash-chained, every event signed: who judged, approved, pushed, purged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .chain import Chain, Line
from .signing import SIGNATURES, Signer, canonical, signed_by

JOURNAL = "journal.jsonl"
PAYLOAD_TYPE = "application/vnd.polyclinic.event+json"  # of a line's DSSE signature, over its other keys
EVALUATED, JUDGED, APPROVED = "evaluated", "judged", "approved"
RESAMPLED, PURGED, PUSHED = "resampled", "purged", "pushed"


@dataclass(frozen=True)
class Event:
    """What happened to the cohort whose manifest has the hash `subject`; `by` is the public key of who signed."""

    event: str
    subject: str
    by: str
    time: str
    details: dict[str, Any]

    def of(self, event: str, subject: str) -> bool:
        """Whether it is an event of this kind about that manifest."""
        return (self.event, self.subject) == (event, subject)


class Journal:
    """The journal in a cohort's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self.chain = Chain(self.path, "journal")

    def events(self) -> list[Event]:
        """All of them, oldest first. Raises InputError if a line was changed, removed or not signed."""
        return self._parse(self.chain.lines())

    def head(self) -> str:
        """Hash of the last line, which stands for all of them; empty for no line."""
        return self.chain.head()

    def append(
        self, event: str, subject: str, signer: Signer, details: dict[str, Any], once: bool = False
    ) -> Event:
        """Add a signed event; `once`: unless the very same is there, which is then returned.

        Raises InputError if the journal cannot be written, or was changed.
        """
        with self.chain.held() as held:
            for there in self._parse(held.lines) if once else ():
                if there.of(event, subject) and there.details == details:
                    return there
            values = {"event": event, "subject": subject, "details": details}
            line = held.append(
                values, lambda line: {**line, SIGNATURES: signer.sign(PAYLOAD_TYPE, canonical(line))}
            )
        return _event(line)

    def _parse(self, lines: list[Line]) -> list[Event]:
        for number, line in enumerate(lines, 1):
            if "signature" in line:
                raise InputError(f"{self.path}: of an older version; draw the cohort again, and release that")
            rest = {key: value for key, value in line.items() if key != SIGNATURES}
            if signed_by(PAYLOAD_TYPE, canonical(rest), line.get(SIGNATURES)) is None:
                raise InputError(
                    f"{self.path}, line {number}: the signature is wrong; the journal was changed"
                )
        return [_event(line) for line in lines]


def _event(line: Line) -> Event:
    return Event(line["event"], line["subject"], line[SIGNATURES][0]["keyid"], line["time"], line["details"])
