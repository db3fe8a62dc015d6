"""PushJournal: what was sent where, beside the cohort; hash-chained. It keeps all from being sent twice.

Before a batch goes a line names its objects, and when the server has answered another says what became of each.
Objects of a line without an answer are in doubt: a killed run may have sent them or not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...core.cohort.chain import Chain, Held
from ...core.errors import InputError
from .sender import HELD, REFUSED, SENT, Item, Outcome

SUFFIX = ".push.jsonl"
SENDING, ANSWERED = "sending", "answered"
WAY_OUT = (
    "put its last copy back, or begin another with --journal NEW --check, which asks the target what it has"
)


def journal_of(cohort: Path) -> Path:
    """The file beside a cohort's folder: c.push.jsonl of c."""
    whole = cohort.resolve()
    return whole.with_name(whole.name + SUFFIX)


class Deliveries:
    """What a held journal says of one target, and the lines that this run adds."""

    def __init__(self, held: Held, target: str, subject: str, path: Path) -> None:
        self._held, self._target, self._subject = held, target, subject
        self._done: dict[str, str] = {}  # name -> sha256
        self._doubt: dict[str, str] = {}
        try:
            for line in held.lines:
                if line["to"] == target:
                    self._follow(line)
        except (KeyError, TypeError, AttributeError):
            raise InputError(
                f"{path}: expected the journal of `polyclinic push`, its lines are of another kind"
            ) from None

    def _follow(self, line: dict[str, object]) -> None:
        if line["event"] == SENDING:
            objects = line["objects"]
            assert isinstance(objects, dict)
            self._doubt.update(objects)
            for name in objects:
                self._done.pop(name, None)
            return
        for state in (SENT, HELD, REFUSED):
            names = line[state]
            assert isinstance(names, list | dict)
            for name in names:
                sha256 = self._doubt.pop(name)
                if state != REFUSED:
                    self._done[name] = sha256

    def has(self, item: Item) -> bool:
        """Whether the server has it, as it once answered."""
        return self._done.get(item.name) == item.sha256

    def doubts(self, item: Item) -> bool:
        """Whether it may have been sent: nobody knows of an answer."""
        return self._doubt.get(item.name) == item.sha256

    def sending(self, items: Sequence[Item]) -> None:
        """Note, before they go, that they go."""
        self._add(
            {
                "event": SENDING,
                "to": self._target,
                "manifest_sha256": self._subject,
                "objects": {i.name: i.sha256 for i in items},
            }
        )

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of items that were noted as going."""
        states: dict[str, object] = {
            state: [o.item.name for o in outcomes if o.state == state] for state in (SENT, HELD)
        }
        refused = {o.item.name: o.reason for o in outcomes if o.state == REFUSED}
        self._add({"event": ANSWERED, "to": self._target, **states, REFUSED: refused})

    def _add(self, line: dict[str, object]) -> None:
        self._follow(self._held.append(line))
        self._held.write()


class PushJournal:
    """The file. A torn last line, of a run that was killed, is set aside and told, as that of a ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chain = Chain(path, "journal of pushes", kept_head=True, way_out=WAY_OUT)

    @staticmethod
    def unwritten(target: str) -> Deliveries:
        """That of a target which is gone with this process."""
        return Deliveries(Held([], ""), target, "", Path())

    @contextmanager
    def held(self, target: str, subject: str) -> Iterator[Deliveries]:
        """Hold it. Raises InputError: another push holds it, it was changed, or it cannot be written."""
        with self.chain.held(wait=False) as held:
            yield Deliveries(held, target, subject, self.path)

    def read(self, target: str) -> Deliveries:
        """What it says now, for a run that sends nothing. Raises InputError if it was changed."""
        return Deliveries(Held(self.chain.lines(), ""), target, "", self.path)
