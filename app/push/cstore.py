"""CStoreSender: DICOM files to an archive by C-STORE (PS3.4 B), as they are encoded; in doubt C-FIND is asked.

An association offers each pair of SOP class and transfer syntax of its files in a presentation context of its own, so
that the archive accepts or refuses each, and nothing is converted.
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ...core.errors import InputError
from ...core.extras import install_line
from .instances import Identity, identity
from .sender import HELD, REFUSED, SENT, Item, Outcome
from .target import Target, is_aet
from .web import Broken, Pauses

FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve Information Model - FIND
IMPLICIT = "1.2.840.10008.1.2"
CONTEXTS = 127  # that an association may have beside that of FIND
ANSWER = 60.0  # s for an answer of the archive
CONNECT, GREETING = 10.0, 15.0  # s for a connection, and for the answer to an association
DUPLICATE = 0x0111
WARNINGS = (0x0001, 0x0107, 0x0116)  # and B000 to BFFF: it is stored
REFUSALS = {1: "it gives no reason", 2: "it knows no such application context",
            3: "it does not know our AE title {own}; give the one it knows with --aet",
            7: "it is not called {aet}; expected the AE title that the archive has"}  # fmt: skip


class CStoreSender:
    """See sender.Sender."""

    most, most_bytes = 25, 64_000_000

    def __init__(self, target: Target, aet: str, parallel: int) -> None:
        if not is_aet(aet):
            raise InputError(f"--aet {aet!r}: an AE title has 1 to 16 ASCII characters, without a backslash")
        try:
            import pynetdicom
        except ImportError:
            raise InputError(f"--to {target.url}: needs pynetdicom; {install_line('push')}") from None
        self.parallel, self._target, self._aet = parallel, target, aet
        self._library: Any = pynetdicom
        self._library._config.STORE_SEND_CHUNKED_DATASET = (
            True  # the file's bytes, neither decoded nor copied
        )
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy: list[Any] = []
        self._offered = dict[tuple[str, str], None]()
        self._lock, self._closing = threading.Lock(), threading.Event()

    def open(self) -> None:
        """See sender.Sender: C-ECHO is not asked for, since an archive may refuse it; an association is made."""
        try:
            with socket.create_connection((self._target.host, self._target.port), CONNECT):
                pass
        except OSError as error:
            raise InputError(
                f"--to {self._target.url}: cannot be reached ({error.strerror or error})"
            ) from None
        try:
            association = self._associate([])
        except Broken as broken:
            raise InputError(f"--to {self._target.url}: {broken}") from None
        self._idle.put(association)

    def _associate(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """A new association that offers these. Raises Broken, and InputError where the archive refuses it for good."""
        library = self._library
        entity = library.AE(ae_title=self._aet)
        entity.acse_timeout = GREETING
        entity.dimse_timeout = entity.network_timeout = ANSWER
        entity.connection_timeout = CONNECT
        contexts = [library.build_context(sop_class, syntax) for sop_class, syntax in pairs[:CONTEXTS]]
        association = entity.associate(
            self._target.host,
            self._target.port,
            contexts=[*contexts, library.build_context(FIND, IMPLICIT)],
            ae_title=self._target.aet,
            evt_handlers=[(library.evt.EVT_CONN_OPEN, _without_delay)],
        )
        if association.is_established or association.rejected_contexts:  # these alone: it has ended already
            association.offered = set(pairs)
            return association
        answer = association.acceptor.primitive
        if association.is_rejected and answer is not None:
            why = REFUSALS.get(answer.diagnostic, f"{answer.source_str}: {answer.reason_str}")
            if answer.result == 1 and answer.result_source == 1:
                raise InputError(
                    f"--to {self._target.url}: the archive refuses the association: "
                    f"{why.format(own=self._aet, aet=self._target.aet)}"
                )
            raise Broken(f"the archive refuses the association for now: {answer.reason_str}")
        raise Broken("no answer to the association; is a DICOM archive there?")

    @contextlib.contextmanager
    def _association(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Any]:
        """One that nobody uses and that offers these pairs; it is kept unless something went wrong."""
        with self._lock:
            self._offered.update(dict.fromkeys(pairs))
            wanted = list(self._offered) if len(self._offered) <= CONTEXTS else list(dict.fromkeys(pairs))
        association = None
        with contextlib.suppress(queue.Empty):
            association = self._idle.get_nowait()
        if association is not None and not (association.is_established and association.offered >= set(pairs)):
            _end(association)
            association = None
        association = association or self._associate(wanted)
        with self._lock:
            self._busy.append(association)
        try:
            yield association
        except BaseException as error:
            association.abort(
                block=isinstance(error, Exception)
            )  # not so on Ctrl-C: a hung archive is not waited for
            raise
        finally:
            with self._lock:
                self._busy.remove(association)
        self._idle.put(association)

    def held(self, items: Sequence[Item]) -> set[str]:
        """See sender.Sender; an archive that does not accept C-FIND cannot be asked."""
        pauses = Pauses(self._closing)
        while True:
            try:
                with self._association([]) as association:
                    return {i.name for i in items if self._finds(association, identity(i))}
            except Broken as broken:
                pauses.wait(broken)

    def _finds(self, association: Any, own: Identity) -> bool:
        from pydicom.dataset import Dataset

        if not any(context.abstract_syntax == FIND for context in association.accepted_contexts):
            return False
        asked = Dataset()
        asked.QueryRetrieveLevel = "IMAGE"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = own.study, own.series
        asked.SOPInstanceUID = own.instance
        found = False
        for status, answer in association.send_c_find(asked, FIND):
            if "Status" not in status:
                raise Broken("the archive does not answer C-FIND")
            found |= answer is not None and answer.get("SOPInstanceUID") == own.instance
        return found

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """See sender.Sender."""
        whole = {item.name: identity(item) for item in items}
        pairs = list(dict.fromkeys((own.sop_class, own.syntax) for own in whole.values()))
        left, outcomes, pauses = list(items), list[Outcome](), Pauses(self._closing)
        while left:
            try:
                with self._association(pairs) as association:
                    accepted = {
                        (c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts
                    }
                    while left:
                        outcomes.append(self._stored(association, left[0], whole[left[0].name], accepted))
                        left.pop(0)
            except Broken as broken:
                pauses.wait(broken)
                if left and self.held(left[:1]):
                    outcomes.append(Outcome(left.pop(0), HELD))
        return outcomes

    def _stored(self, association: Any, item: Item, own: Identity, accepted: set[tuple[Any, Any]]) -> Outcome:
        """Send one. Raises Broken where no answer comes, or the archive is out of resources."""
        if (own.sop_class, own.syntax) not in accepted:
            from pydicom.uid import UID

            pair = f"{UID(own.sop_class).name} in {UID(own.syntax).name}"
            return Outcome(item, REFUSED, f"the archive does not accept {pair}")
        try:
            answer = association.send_c_store(item.path)
        except RuntimeError:  # the association has ended
            raise Broken("the archive ended the association") from None
        if "Status" not in answer:
            raise Broken("the archive ended the association without an answer")
        status = int(answer.Status)
        if status == DUPLICATE:
            return Outcome(item, HELD)
        if status == 0 or status in WARNINGS or status >> 12 == 0xB:
            return Outcome(item, SENT)
        said = f"status {status:04X}H {answer.get('ErrorComment', '')}".strip()
        if status >> 8 == 0xA7:
            raise Broken(f"{said}: it is out of resources")
        return Outcome(item, REFUSED, said)

    def close(self) -> None:
        """See sender.Sender; an association that waits for an answer is aborted."""
        self._closing.set()
        with self._lock:
            busy = list(self._busy)
        for association in busy:
            _abandon(association)
        while True:
            try:
                association = self._idle.get_nowait()
            except queue.Empty:
                return
            if busy:  # the run was stopped: the archive may hang
                _abandon(association)
            else:
                _end(association)


def _without_delay(event: Any) -> None:
    """Send small packets at once: else each image waits for the delayed acknowledgement of its last packet."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _end(association: Any) -> None:
    if association.is_established:
        association.release()


def _abandon(association: Any) -> None:
    """Abort, without waiting for the archive; who waits for its answer is told that none comes."""
    association.abort(block=False)
    association.dimse.msg_queue.put((None, None))
