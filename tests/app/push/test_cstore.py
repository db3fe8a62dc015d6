"""C-STORE to an archive: as files are encoded, each once; and to Orthanc, killed and run again."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polyclinic.app.push import cstore, web
from polyclinic.app.push.run import push
from polyclinic.core.errors import InputError

from .made import cohort, servers, uid

IMAGES = 7
ONCE = {uid(number): 1 for number in range(IMAGES)}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE", 0.01)
    monkeypatch.setattr(cstore.CStoreSender, "most", 3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort(tmp_path_factory.mktemp("c") / "c", IMAGES)


@pytest.fixture
def store() -> Any:
    return servers().Store()


@pytest.fixture
def archive(store: Any) -> Iterator[str]:
    server, port = servers().listen(store, refused=frozenset({uid(99)}))
    yield f"dicom://ARCHIVE@127.0.0.1:{port}"
    server.shutdown()


def test_all_is_sent_and_nothing_again(images: Path, archive: str, store: Any, tmp_path: Path) -> None:
    assert push(images, archive, unreleased=True, journal=tmp_path / "j").sent == IMAGES
    assert push(images, archive, unreleased=True, journal=tmp_path / "j").held == IMAGES
    assert store.came == ONCE


def test_what_is_lost_there_is_sent_by_check(images: Path, archive: str, store: Any, tmp_path: Path) -> None:
    push(images, archive, unreleased=True, journal=tmp_path / "j")
    del store.came[uid(4)]
    tally = push(images, archive, unreleased=True, journal=tmp_path / "j", check=True)
    assert (tally.sent, tally.lost, tally.held) == (1, 1, IMAGES - 1)
    assert store.came == ONCE


def test_what_no_context_takes_is_refused(archive: str, store: Any, tmp_path: Path) -> None:
    packed = cohort(tmp_path / "c", 2, compressed=True)
    assert push(packed, archive, unreleased=True).sent == 2  # RLE, as it is
    manifest = (packed / "manifest.json").read_text()
    assert sorted(store.came) == [uid(0), uid(1)]
    assert "1.2.840.10008.1.2.5" in servers().SYNTAXES
    server, port = servers().listen(store, syntaxes=("1.2.840.10008.1.2",))
    try:
        tally = push(packed, f"dicom://ARCHIVE@127.0.0.1:{port}", unreleased=True)
    finally:
        server.shutdown()
    assert set(tally.refused.values()) == {
        "the archive does not accept Secondary Capture Image Storage in RLE Lossless"
    }
    assert len(tally.refused) == manifest.count("sha256") == 2


def test_one_that_is_refused_does_not_stop_the_rest(images: Path, store: Any, tmp_path: Path) -> None:
    server, port = servers().listen(store, refused=frozenset({uid(2)}))
    try:
        tally = push(images, f"dicom://ARCHIVE@127.0.0.1:{port}", unreleased=True, journal=tmp_path / "j")
    finally:
        server.shutdown()
    assert tally.refused == {"dicom/SYN-0002/a/b/c.dcm": "status C000H"}
    assert store.came == {name: 1 for name in ONCE if name != uid(2)}


def test_an_archive_that_aborts_is_asked_what_it_has(
    images: Path, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, left = store.add, [4]

    def kept_and_gone(tags: Any) -> None:
        add(tags)
        left[0] -= 1
        if left[0] >= 0:
            raise ConnectionAbortedError  # an answer of failure, though it has kept it

    monkeypatch.setattr(store, "add", kept_and_gone)
    server, port = servers().listen(store, aborts=True)
    try:
        tally = push(images, f"dicom://ARCHIVE@127.0.0.1:{port}", unreleased=True, journal=tmp_path / "j")
    finally:
        server.shutdown()
    assert (tally.sent + tally.held, tally.refused) == (IMAGES, {})
    assert tally.held >= 1
    assert store.came == ONCE


def test_the_wrong_titles_and_no_archive(
    images: Path, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cstore, "GREETING", 0.3)
    with pytest.raises(InputError, match="it is not called PACS; expected the AE title that the archive has"):
        push(images, archive.replace("ARCHIVE", "PACS"), unreleased=True, journal=tmp_path / "j")
    with pytest.raises(InputError, match="an AE title has 1 to 16"):
        push(images, archive, unreleased=True, journal=tmp_path / "j", aet="SEVENTEEN LETTERS")
    found = servers().Archive()
    with pytest.raises(InputError, match="no answer to the association; is a DICOM archive there"):
        push(images, f"dicom://A@127.0.0.1:{found.port}", unreleased=True, journal=tmp_path / "j")
    found.close()
    with pytest.raises(InputError, match=r"cannot be reached \(Connection refused\)"):
        push(images, f"dicom://A@127.0.0.1:{found.port}", unreleased=True, journal=tmp_path / "j")


def _stopped(images: Path, to: str, journal: Path, by: int, going: Any) -> tuple[int, str, float]:
    """Exit code and stderr of a push that gets a signal once `going()`, and s until it has ended."""
    words = ["push", str(images), "--to", to, "--unreleased", "--journal", str(journal)]
    running = subprocess.Popen(
        [sys.executable, "-c", f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {RUN}",
         *words], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not going() and running.poll() is None:
        time.sleep(0.02)
    began = time.monotonic()
    running.send_signal(by)
    said = running.communicate(timeout=60)[1]
    return running.returncode, said, time.monotonic() - began


RUN = "from polyclinic.app.cli import main; main()"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_an_archive_hangs(
    images: Path, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: int
) -> None:
    on, come, add = threading.Event(), threading.Event(), store.add

    def hung(tags: Any) -> None:
        come.set()
        on.wait(30)
        add(tags)

    monkeypatch.setattr(store, "add", hung)
    server, port = servers().listen(store)
    to = f"dicom://ARCHIVE@127.0.0.1:{port}"
    try:
        code, said, took = _stopped(images, to, tmp_path / "j", by, come.is_set)
        assert (code, took < 15) == (130, True), (said, took)  # of 30 that the archive takes
        assert said.endswith("stopped; what went is in the journal: the same command goes on\n")
        on.set()
        deadline = time.monotonic() + 5
        while len(store.came) < 1 and time.monotonic() < deadline:  # what hung is stored now, or lost
            time.sleep(0.02)
        tally = push(images, to, unreleased=True, journal=tmp_path / "j")
    finally:
        on.set()
        server.shutdown()
    assert (tally.sent + tally.held, tally.refused) == (IMAGES, {})
    assert set(store.came) == set(ONCE)


def test_a_signal_ends_it_while_nobody_answers_the_association(images: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = f"dicom://ARCHIVE@127.0.0.1:{silent.getsockname()[1]}"

        def going() -> bool:
            if not (silent_asked := select.select([silent], [], [], 0)[0]):
                return False
            peer, _ = silent_asked[0].accept()
            return bool(peers.append(peer) or (len(peers) == 2 and peer.recv(1)))

        peers = list[socket.socket]()
        code, said, took = _stopped(images, to, tmp_path / "j", signal.SIGINT, going)
        for peer in peers:
            peer.close()
    assert (code, took < 15) == (130, True), (said, took)  # of 30 that the archive takes


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if reason := servers().no_orthanc():
        pytest.skip(reason)
    with servers().orthanc(tmp_path_factory.mktemp("orthanc")) as found:
        yield found


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", ["WEB", "DIMSE"])
def test_orthanc_holds_each_once_after_a_kill(orthanc: Any, tmp_path: Path, way: str, number: int) -> None:
    """SIGKILL once a third is there; then again, without."""
    orthanc.empty()
    images = cohort(tmp_path / "c", number)
    command = orthanc.inside(
        sys.executable, "-m", "polyclinic", "push", str(images), "--to", getattr(orthanc, way), "--unreleased"
    )
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while orthanc.holds() < number // 3 and running.poll() is None:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (orthanc.holds(), orthanc.arrivals()) == (number, number)
    planned = push(images, getattr(orthanc, way), unreleased=True, dry_run=True)
    assert (planned.sent, planned.held) == (0, number)
