"""push(): the objects of a cohort go to a target in batches, each noted in the journal before it goes and after."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.journal import PUSHED, Journal
from ...core.cohort.quarantine import require_free
from ...core.cohort.signing import Signer, read_public
from ...core.errors import InputError, Refused, listed
from ...core.training.weights import digest
from ..calling import public_function
from ..governance.certificate import CERTIFICATE
from ..governance.verification import verify
from .journal import Deliveries, PushJournal, journal_of
from .sender import HELD, REFUSED, SENT, Item, Outcome, Sender, Stopped
from .source import count, items
from .target import BUCKET, FHIR, Target, parse_target

PARALLEL = 4  # batches on their way at once
BUNDLES = ("transaction", "batch")


@dataclass
class Tally:
    """What a push did: items sent now, held by the target before, and refused with the reason, by name."""

    target: str
    total: int
    sent: int = 0
    held: int = 0
    lost: int = 0  # of those sent now: the journal had them as there
    bytes: int = 0  # sent
    seconds: float = 0.0
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        if outcome.state == REFUSED:
            self.refused[outcome.item.name] = outcome.reason
        elif outcome.state == SENT:
            self.sent, self.bytes = self.sent + 1, self.bytes + outcome.item.size
        else:
            self.held += 1

    @property
    def done(self) -> int:
        """Items that were answered."""
        return self.sent + self.held + len(self.refused)


def _silent(*_: object) -> None:
    """No progress is shown."""


@public_function
def push(
    cohort: Any,
    to: str,
    *,
    unreleased: bool = False,
    key: str | None = None,
    sign: str | Path | None = None,
    auth: str | Path | None = None,
    ca: str | Path | None = None,
    aet: str = "POLYCLINIC",
    bundle: str = "transaction",
    import_from: str | None = None,
    journal: str | Path | None = None,
    check: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = _silent,
) -> Tally:
    """Send the files of a released cohort to an archive, a FHIR server or a bucket, each once, and count them.

    `to` is dicomweb+https://host/path, dicom://AET@host:port, fhir+https://host/path, s3://bucket/folder,
    file:///folder or what else fsspec knows. Nothing that a journal beside the cohort (or `journal`) says to be there
    is sent again; with `check` the target is asked for everything, and what it does not have is sent. `key` is the
    public key that must have signed the certificate, `unreleased` sends without one; `sign` is a private key with which
    the push is signed in the cohort's audit log. `auth` is a file with `bearer TOKEN` or `basic USER:PASSWORD`, `ca` a
    PEM file of trusted certificates, `aet` our AE title. `bundle` is transaction or batch; with `import_from` a FHIR
    server is told to pull the NDJSON from there. `progress(done, all)` counts.
    Raises InputError, also where the server is lost, and Refused: not released, or in quarantine. What a server
    refuses is in the tally.
    """
    folder = Path(getattr(cohort, "folder", cohort))
    target = parse_target(to)
    if bundle not in BUNDLES:
        raise InputError(f"--bundle {bundle}: expected one of {', '.join(BUNDLES)}")
    if import_from is not None and target.kind != FHIR:
        raise InputError(f"--import-from: only a FHIR server pulls files, not {target.url}")
    if check and (dry_run or import_from is not None or (target.kind == FHIR and bundle == "batch")):
        raise InputError(
            "--check asks the target what it has: not with --dry-run, --import-from or --bundle batch, which ask nobody"
        )
    signer = None if sign is None else Signer.load(Path(sign))
    whole = Cohort.open(folder)
    _require_released(whole, unreleased, key)
    total = count(whole, target)
    path = Path(journal) if journal is not None else journal_of(folder)
    if path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"--journal {path}: lies in the cohort, which is as it was released; name a file elsewhere"
        )
    if journal is not None and target.url.startswith("memory:"):
        raise InputError(f"--journal {path}: {target.url} is gone with this process; leave the journal out")
    if not path.parent.is_dir():
        raise InputError(f"--journal {path}: no folder {path.parent}; make it, or name a file elsewhere")
    if import_from is not None:
        from .bulk import import_request

        some, total = [import_request(whole, import_from)], 1
    tally = Tally(target.url, total)
    objects: Iterable[Item] = items(whole, target) if import_from is None else some
    if dry_run:
        return _planned(objects, _read(path, target), tally)
    sender = _sender(
        target,
        folder,
        aet,
        bundle,
        import_from is not None,
        *(None if f is None else Path(f) for f in (auth, ca)),
    )
    began, subject = time.monotonic(), digest(folder / MANIFEST)
    try:
        with _held(path, target, subject) as log:
            sender.open()
            _deliver(objects, sender, log, tally, progress, check)
    finally:
        sender.close()
        tally.seconds = time.monotonic() - began
        if signer is not None and tally.done:
            details = {
                "to": target.url, "there": tally.sent + tally.held, "refused": len(tally.refused),
                "journal_head": PushJournal(path).chain.head(),
            }  # fmt: skip
            Journal(folder).append(PUSHED, subject, signer, details, once=True)
    return tally


def _read(path: Path, target: Target) -> Deliveries:
    if target.url.startswith("memory:"):
        return PushJournal.unwritten(target.url)
    return PushJournal(path).read(target.url)


def _held(path: Path, target: Target, subject: str) -> AbstractContextManager[Deliveries]:
    if target.url.startswith("memory:"):  # a journal on the disk would outlive it
        return nullcontext(PushJournal.unwritten(target.url))
    return PushJournal(path).held(target.url, subject)


def _require_released(cohort: Cohort, unreleased: bool, key: str | None) -> None:
    """Raises Refused unless the cohort has left by a release, byte for byte, or `unreleased`, as it was drawn."""
    cohort.require_complete()
    require_free(cohort.folder)
    if unreleased:
        if key is not None:
            raise InputError(
                "--key checks the certificate of a released cohort; leave it or --unreleased out"
            )
        cohort.require_files(hashes=True)
        return
    if not (cohort.folder / CERTIFICATE).exists():
        raise Refused(
            f"{cohort.folder}: not released: it has no {CERTIFICATE}; judge it with polyclinic release, or send it "
            "with --unreleased"
        )
    if problems := verify(cohort.folder, None if key is None else read_public(key)).problems:
        raise Refused(f"{cohort.folder}: not as it was released: {listed(problems, 3)}")


def _sender(
    target: Target, folder: Path, aet: str, bundle: str, pull: bool, auth: Path | None, ca: Path | None
) -> Sender:
    """What serves the target's kind; each needs a library of its own. Raises InputError where that is not there."""
    if target.kind == BUCKET:
        from .bucket import BucketSender

        return BucketSender(target, folder, PARALLEL)
    if target.url.startswith("dicom:"):
        from .cstore import CStoreSender

        return CStoreSender(target, aet, PARALLEL)
    if target.kind == FHIR:
        from .bulk import ImportSender
        from .fhir import FhirSender

        return ImportSender(target, auth, ca) if pull else FhirSender(target, auth, ca, PARALLEL, bundle)
    from .stow import StowSender

    return StowSender(target, auth, ca, PARALLEL)


def _planned(objects: Iterable[Item], log: Deliveries, tally: Tally) -> Tally:
    """What would be sent, and what is there already."""
    for item in objects:
        tally.add(Outcome(item, HELD if log.has(item) else SENT))
    return tally


def _deliver(
    objects: Iterable[Item],
    sender: Sender,
    log: Deliveries,
    tally: Tally,
    progress: Callable[[int, int], None],
    check: bool,
) -> None:
    """Send all that is not there; what is in doubt is asked for first, or with `check` everything.

    Raises InputError where the server is lost.
    """
    waiting: dict[Future[list[Outcome]], Sequence[Item]] = {}
    pool = ThreadPoolExecutor(sender.parallel, thread_name_prefix="push")

    def note(outcomes: Sequence[Outcome]) -> None:
        log.answered(outcomes)
        for outcome in outcomes:
            tally.add(outcome)
        progress(tally.done, max(tally.total, tally.done))

    def collect(until: int) -> None:
        while len(waiting) > until:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                del waiting[future]
                note(future.result())

    try:
        for batch in _batches(objects if check else _missing(objects, log, tally), sender):
            doubtful = [item for item in batch if check or log.doubts(item)]
            there = sender.held(doubtful) if doubtful else set()
            found = [item for item in batch if item.name in there]
            for item in filter(log.has, found):
                tally.add(Outcome(item, HELD))
            if news := [item for item in found if not log.has(item)]:
                if unknown := [item for item in news if not log.doubts(item)]:
                    log.sending(unknown)
                note([Outcome(item, HELD) for item in news])
            tally.lost += sum(log.has(item) for item in batch if item.name not in there)
            rest = [item for item in batch if item.name not in there]
            if not rest:
                continue
            collect(0 if rest[0].alone else sender.parallel - 1)
            log.sending(rest)
            waiting[pool.submit(sender.send, rest)] = rest
            collect(0 if rest[0].alone else sender.parallel)
        collect(0)
    except (Stopped, InputError) as error:
        _note_the_rest(waiting, note)
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"--to {tally.target}: stopped after {tally.done} of {max(tally.total, tally.done)}: {error}; the same "
            "command goes on with the rest"
        ) from None
    finally:
        sender.close()
        stopped = isinstance(sys.exception(), KeyboardInterrupt)  # what is on its way stays in doubt
        pool.shutdown(wait=not stopped, cancel_futures=True)


def _note_the_rest(
    waiting: Mapping[Future[list[Outcome]], Sequence[Item]], note: Callable[[Sequence[Outcome]], None]
) -> None:
    """Wait for what is on its way, and note what was answered; the others stay in doubt."""
    for future in wait(waiting).done:
        if not future.cancelled() and future.exception() is None:
            note(future.result())


def _missing(objects: Iterable[Item], log: Deliveries, tally: Tally) -> Iterator[Item]:
    for item in objects:
        if log.has(item):
            tally.add(Outcome(item, HELD))
        else:
            yield item


def _batches(objects: Iterable[Item], sender: Sender) -> Iterator[list[Item]]:
    """Items together, as many as the sender takes; those that go alone by themselves."""
    batch: list[Item] = []
    size = 0
    for item in objects:
        full = len(batch) >= sender.most or (batch and size + item.size > sender.most_bytes)
        if batch and (full or item.alone or batch[-1].alone):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch
