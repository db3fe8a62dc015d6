"""StowSender: DICOM files to an archive by STOW-RS (PS3.18 10.5), many in a request; in doubt QIDO-RS is asked."""

import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from .instances import identity
from .sender import HELD, REFUSED, SENT, Item, Outcome, by_name, split
from .target import Target
from .web import Broken, Pauses, Web, refusal

JSON = {"Accept": "application/dicom+json"}
UID, CLASS_UID, STORED, FAILED, REASON = "00081155", "00081150", "00081199", "00081198", "00081197"
DUPLICATE = 0x0111  # the archive has this instance
PIECE = 1 << 20  # bytes read at a time


class StowSender:
    """See sender.Sender."""

    most, most_bytes = 50, 16_000_000

    def __init__(self, target: Target, auth: Path | None, ca: Path | None, parallel: int) -> None:
        self.parallel = parallel
        self._web, self._target = Web(target, auth, ca, parallel), target

    def open(self) -> None:
        """See sender.Sender. Archives that cannot be queried are fine."""
        answer = self._web.reach("/studies?limit=1", JSON)
        if answer.status_code == 404:
            raise InputError(
                f"--to {self._target.url}: no DICOMweb there (HTTP 404 for /studies); expected its base URL, as "
                "dicomweb+http://host:8042/dicom-web"
            )
        if answer.status_code == 403:
            raise InputError(f"--to {self._target.url}: {refusal(answer)}: these credentials may not read it")

    def held(self, items: Sequence[Item]) -> set[str]:
        """See sender.Sender; one query a study."""
        studies: dict[str, dict[str, str]] = defaultdict(dict)  # study -> instance -> name
        for item in items:
            own = identity(item)
            studies[own.study][own.instance] = item.name
        found = set[str]()
        for study, names in studies.items():
            answer = self._web.get(f"/studies/{study}/instances?includefield=00080018", JSON)
            if answer.status_code == 200:
                there = {_value(row, "00080018") for row in _rows(answer)}
                found |= {name for instance, name in names.items() if instance in there}
        return found

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """See sender.Sender; a batch that is too large, or refused as a whole, is sent in halves."""
        return self._sent(list(items), Pauses(self._web.closing))

    def _sent(self, left: list[Item], pauses: Pauses) -> list[Outcome]:
        """The same; some archives hang up on a body that is too large, so that a second loss halves the batch."""
        outcomes, losses = list[Outcome](), 0
        while left:
            boundary = secrets.token_hex(16)
            heads = {
                **JSON,
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Content-Length": str(_length(left, boundary)),
            }
            try:
                answer = self._web.once("POST", "/studies", _body(left, boundary), heads)
            except Broken as broken:
                pauses.wait(broken)
                there = self.held(left)
                outcomes += [Outcome(item, HELD) for item in left if item.name in there]
                left = [item for item in left if item.name not in there]
                losses += not broken.busy
                if losses >= 2 and len(left) > 1:
                    return outcomes + [o for half in split(left) for o in self._sent(list(half), pauses)]
                continue
            pauses.reset()
            return outcomes + self._judged(left, answer)
        return outcomes

    def _judged(self, items: list[Item], answer: Any) -> list[Outcome]:
        """What the archive's answer says of each."""
        status = answer.status_code
        rows = _rows(answer)
        failed = {_value(r, UID): _value(r, REASON) for row in rows for r in _items(row, FAILED)}
        stored = {_value(r, UID) for row in rows for r in _items(row, STORED)}
        if status < 300 and not failed and len(stored) in (0, len(items)):
            return [Outcome(item, SENT) for item in items]
        if status in (403, 404, 405, 501):
            raise InputError(f"--to {self._target.url}: takes no STOW-RS: {refusal(answer)}")
        if not failed and not stored:  # nothing is said of any of them
            if len(items) > 1:
                return [outcome for half in split(items) for outcome in self.send(half)]
            return [Outcome(items[0], REFUSED, refusal(answer, lambda: _text(answer)))]
        return self._each(items, stored, failed)

    def _each(self, items: list[Item], stored: set[Any], failed: dict[Any, Any]) -> list[Outcome]:
        uids = {item.name: identity(item).instance for item in items}
        unsaid = [item for item in items if uids[item.name] not in {*stored, *failed}]
        there = self.held(unsaid) if unsaid else set()
        outcomes = []
        for name, item in by_name(items).items():
            reason = failed.get(uids[name])
            if uids[name] in stored or name in there:
                outcomes.append(Outcome(item, SENT))
            elif reason == DUPLICATE:
                outcomes.append(Outcome(item, HELD))
            else:
                why = (
                    f"failure reason {reason:04X}H"
                    if isinstance(reason, int)
                    else "it does not say that it has"
                )
                outcomes.append(Outcome(item, REFUSED, why))
        return outcomes

    def close(self) -> None:
        """See sender.Sender."""
        self._web.close()


def _head(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def _length(items: Sequence[Item], boundary: str) -> int:
    """Bytes of _body."""
    return sum(len(_head(boundary)) + item.size + 2 for item in items) + len(boundary) + 6


def _body(items: Sequence[Item], boundary: str) -> Iterator[bytes]:
    for item in items:
        yield _head(boundary)
        assert item.path is not None
        with item.path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _rows(answer: Any) -> list[dict[str, Any]]:
    """Data sets of a DICOM JSON answer; none where it is of another kind."""
    try:
        content = answer.json()
    except ValueError:
        return []
    content = content if isinstance(content, list) else [content]
    return [row for row in content if isinstance(row, dict)]


def _items(row: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def _value(row: dict[str, Any], tag: str) -> Any:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _text(answer: Any) -> str:
    return answer.text[:200] if "html" not in answer.headers.get("content-type", "") else ""
