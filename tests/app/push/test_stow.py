"""STOW-RS to an archive that fails as it is told: each object is held once at the end, whatever happens."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyclinic.app import cli
from polyclinic.app.push import stow, web
from polyclinic.app.push.run import push
from polyclinic.core.errors import InputError, Refused
from polyclinic.core.remarks import remarks

from .made import cohort, servers, uid

IMAGES = 7
ONCE = {uid(number): 1 for number in range(IMAGES)}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a moment, batches of three, and no proxy."""
    monkeypatch.setattr(web, "PAUSE", 0.002)
    monkeypatch.setattr(stow.StowSender, "most", 3)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", web.AUTH):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort(tmp_path_factory.mktemp("c") / "c", IMAGES)


@pytest.fixture
def archive() -> Iterator[Any]:
    found = servers().Archive()
    yield found
    found.close()


def sent(images: Path, archive: Any, place: Path, **how: Any) -> Any:
    place.mkdir(exist_ok=True)
    return push(images, archive.url, unreleased=True, journal=place / "j.jsonl", **how)


def test_all_is_sent_and_nothing_again(images: Path, archive: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = sent(images, archive, tmp_path, progress=lambda *numbers: seen.append(numbers))
    assert (first.sent, first.held, first.refused, seen[-1]) == (IMAGES, 0, {}, (IMAGES, IMAGES))
    requests = archive.requests
    again = sent(images, archive, tmp_path)
    assert (again.sent, again.held, archive.requests) == (0, IMAGES, requests)
    assert archive.store.came == ONCE


FAULTS = st.sampled_from([None, "before", "after", "half", 503, 429, 413, 500])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FAULTS, max_size=9))
def test_each_is_held_once_after_any_faults(
    images: Path, tmp_path_factory: pytest.TempPathFactory, faults: list[Any]
) -> None:
    archive, place = servers().Archive(), tmp_path_factory.mktemp("j")
    archive.faults = list(faults)
    try:
        for _ in range(len(faults) + 1):
            if not sent(images, archive, place).refused:  # a 500 for one object counts as a refusal
                break
        assert archive.store.came == ONCE
    finally:
        archive.close()


def test_one_that_is_refused_does_not_stop_the_rest(images: Path, archive: Any, tmp_path: Path) -> None:
    archive.refused, archive.poison = {uid(1)}, {uid(4)}
    tally = sent(images, archive, tmp_path)
    reasons = {name.split("/")[1]: reason for name, reason in tally.refused.items()}
    assert reasons == {"SYN-0001": "failure reason A900H", "SYN-0004": "HTTP 400 Bad Request []"}
    assert archive.store.came == {u: 1 for u in ONCE if u not in {uid(1), uid(4)}}
    archive.refused, archive.poison = set(), set()
    again = sent(images, archive, tmp_path)
    assert (again.sent, again.held, again.refused) == (2, IMAGES - 2, {})
    assert archive.store.came == ONCE


def test_a_refusal_is_exit_code_3(
    images: Path,
    archive: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive.refused = {uid(1)}
    words = ["push", str(images), "--to", archive.url, "--unreleased", "--journal", str(tmp_path / "j.jsonl")]
    monkeypatch.setattr("sys.argv", ["polyclinic", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 3
    assert "sent 6 objects" in out
    assert "refused: 1: failure reason A900H: dicom/SYN-0001/a/b/c.dcm" in err
    assert "refused 1 of 7 objects; the others are there" in err


def test_ctrl_c_ends_a_wait_at_once(images: Path, archive: Any, tmp_path: Path) -> None:
    archive.faults, archive.after = [503] * 99, "100"
    words = ["push", str(images), "--to", archive.url, "--unreleased", "--journal", str(tmp_path / "j.jsonl")]
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(2, signal.default_int_handler); "
         "from polyclinic.app.cli import main; main()", *words], stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        while not archive.requests:
            time.sleep(0.02)
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        said = running.communicate()[1]
    assert (running.returncode, time.monotonic() - began < 30) == (130, True)
    assert "stopped; what went is in the journal: the same command goes on" in said
    archive.faults = []
    assert sent(images, archive, tmp_path).sent == IMAGES


def test_a_body_that_is_too_large_is_halved(images: Path, archive: Any, tmp_path: Path) -> None:
    archive.most = 2000  # bytes: two images, not three
    assert sent(images, archive, tmp_path).sent == IMAGES
    assert archive.store.came == ONCE
    archive.most = 100
    assert len(sent(images, archive, tmp_path / "other").refused) == IMAGES


def test_retry_after_is_kept(
    images: Path, archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(web.Pauses, "wait", lambda self, broken: waited.append(broken.wait))
    archive.faults, archive.after = [429, 503], "7"
    sent(images, archive, tmp_path)
    assert waited == [7.0, 7.0]


def test_a_server_that_stays_busy_is_left_with_what_is_done_noted(
    images: Path, archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "TRIES", 2)
    archive.faults = [None, *[503] * 20]
    with pytest.raises(InputError, match=r"stopped after \d of 7: HTTP 503 .*; the same command goes on"):
        sent(images, archive, tmp_path)
    archive.faults = []
    assert sent(images, archive, tmp_path).done == IMAGES
    assert archive.store.came == ONCE


def test_killed_at_any_step_and_run_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends at its n-th line of the journal, or n-th request before or after it is answered."""
    for at in range(1, 14):
        archive, place = servers().Archive(), tmp_path / str(at)
        place.mkdir()
        child = os.fork()
        if child == 0:
            count = [0]

            def step(count: list[int] = count, at: int = at) -> None:
                count[0] += 1
                if count[0] == at:
                    os._exit(9)

            def around(do: Any, step: Any = step) -> Any:
                def done(*args: Any, **kwargs: Any) -> Any:
                    step()
                    found = do(*args, **kwargs)
                    step()
                    return found

                return done

            monkeypatch.setattr(os, "fsync", around(os.fsync))
            monkeypatch.setattr(web.Web, "once", around(web.Web.once))
            code = 1
            try:
                sent(images, archive, place)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        while archive.active:  # what came is being stored
            time.sleep(0.005)
        with remarks(lambda _: None):
            assert sent(images, archive, place).refused == {}
        assert archive.store.came == ONCE
        archive.close()


def test_credentials_come_from_a_file_or_the_environment(
    images: Path, archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.header = "Bearer s3cret"
    with pytest.raises(InputError, match=r"HTTP 401 .*: it asks for credentials; give `bearer TOKEN`"):
        sent(images, archive, tmp_path)
    file = tmp_path / "auth"
    file.write_text("bearer s3cret\n")
    file.chmod(0o644)
    with pytest.raises(InputError, match="others can read these credentials; chmod 600"):
        sent(images, archive, tmp_path, auth=file)
    file.chmod(0o600)
    assert sent(images, archive, tmp_path, auth=file).sent == IMAGES
    archive.header = "Basic YWxpY2U6c2VzYW1lOm9wZW4="
    monkeypatch.setenv(web.AUTH, "basic alice:sesame:open")
    assert sent(images, archive, tmp_path / "other").sent == IMAGES
    assert "s3cret" not in (tmp_path / "j.jsonl").read_text()


@pytest.mark.parametrize(
    "text", ["", "token", "bearer", "bearer a b", "basic alice", "bearer a\nb", "bearer \x01"]
)
def test_credentials_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "auth"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(InputError, match="bearer TOKEN"):
        web.credentials(file)


def test_credentials_do_not_go_over_plain_http(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(web.AUTH, "bearer s3cret")
    with pytest.raises(InputError, match="credentials over plain HTTP") as refused:
        push(images, "dicomweb+http://pacs.example/dicom-web", unreleased=True, journal=tmp_path / "j")
    assert "s3cret" not in str(refused.value)


def certificate(place: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Polyclinic test CA")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (place / "ca.pem").write_bytes(made.public_bytes(form.Encoding.PEM))
    (place / "key.pem").write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    return place / "ca.pem", place / "key.pem"


def test_tls_with_a_ca_of_our_own(images: Path, tmp_path: Path) -> None:
    ca, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    archive = servers().Archive(tls=context)
    try:
        with pytest.raises(InputError, match=r"certificate is not trusted .*; give its CA in ca FILE"):
            sent(images, archive, tmp_path)
        with pytest.raises(InputError, match="expected certificates in PEM"):
            sent(images, archive, tmp_path, ca=images / "manifest.json")
        assert archive.store.came == {}
        assert sent(images, archive, tmp_path, ca=ca).sent == IMAGES
        with pytest.raises(InputError, match="takes connections, but gives no answer in HTTP"):
            push(images, archive.url.replace("https", "http"), unreleased=True, journal=tmp_path / "k")
    finally:
        archive.close()


def test_nobody_there_and_not_an_archive(images: Path, archive: Any, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=r"cannot be reached \(.*refused"):
            push(images, f"dicomweb+http://127.0.0.1:{port}/x", unreleased=True, journal=tmp_path / "j")
    with pytest.raises(InputError, match="no DICOMweb there"):
        push(images, archive.url + "/x", unreleased=True, journal=tmp_path / "j")
    with pytest.raises(InputError, match="no TLS with this server"):
        push(images, archive.url.replace("http:", "https:"), unreleased=True, journal=tmp_path / "j")


def test_a_dry_run_reaches_nobody_and_writes_nothing(images: Path, archive: Any, tmp_path: Path) -> None:
    tally = sent(images, archive, tmp_path, dry_run=True)
    assert (tally.sent, tally.held, archive.seen, list(tmp_path.iterdir())) == (IMAGES, 0, [], [])
    sent(images, archive, tmp_path)
    assert sent(images, archive, tmp_path, dry_run=True).sent == 0


def test_the_journal_names_what_went_and_is_a_chain(images: Path, archive: Any, tmp_path: Path) -> None:
    archive.refused = {uid(1)}
    sent(images, archive, tmp_path)
    file = tmp_path / "j.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["to"] for line in lines} == {archive.url}
    went = {name for line in lines if line["event"] == "sending" for name in line["objects"]}
    assert went == set(json.loads((images / "manifest.json").read_text())["files"])
    assert [line["refused"] for line in lines if line.get("refused")] == [
        {"dicom/SYN-0001/a/b/c.dcm": "failure reason A900H"}
    ]
    file.write_text(file.read_text().replace("A900H", "0000H"))
    with pytest.raises(InputError, match="the journal of pushes was changed"):
        sent(images, archive, tmp_path)


def test_a_torn_last_line_is_set_aside_and_told(images: Path, archive: Any, tmp_path: Path) -> None:
    sent(images, archive, tmp_path)
    file = tmp_path / "j.jsonl"
    content = file.read_bytes()
    file.write_bytes(content + b'{"event": "sending", "to": "dico')
    archive.store.came.clear()
    with remarks(lambda _: None) as said:
        assert sent(images, archive, tmp_path).held == IMAGES
    assert any("a process died while it wrote it" in line for line in said)


def test_two_at_once_are_one_too_many(images: Path, archive: Any, tmp_path: Path) -> None:
    from polyclinic.app.push.journal import PushJournal

    with (
        PushJournal(tmp_path / "j.jsonl").held(archive.url, ""),
        pytest.raises(InputError, match="another run holds the journal of pushes"),
    ):
        sent(images, archive, tmp_path)


def test_a_journal_that_cannot_be_written(
    images: Path, archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")

    def sync(number: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(InputError, match=r"journal of pushes cannot be written \(No space left on device\)"):
        sent(images, archive, tmp_path)
    assert archive.store.came == {}  # what cannot be noted is not sent
    monkeypatch.undo()
    with pytest.raises(InputError, match="is as it was released; name a file elsewhere"):
        push(images, archive.url, unreleased=True, journal=images / "j.jsonl")


def test_what_is_not_released_stays(images: Path, archive: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"not released: it has no certificate\.json"):
        push(images, archive.url, journal=tmp_path / "j")
    with pytest.raises(InputError, match="no cohort there"):
        push(tmp_path, archive.url, unreleased=True)
    changed = cohort(tmp_path / "changed", 2)
    next(changed.rglob("*.dcm")).write_bytes(b"x")
    with pytest.raises(InputError, match="1 of 2 files are not as they were written"):
        push(changed, archive.url, unreleased=True)
    manifest = json.loads((changed / "manifest.json").read_text())
    (changed / "manifest.json").write_text(json.dumps({**manifest, "status": "incomplete"}))
    with pytest.raises(InputError, match="unfinished"):
        push(changed, archive.url, unreleased=True)
    assert archive.store.came == {}
