"""Buckets and folders by fsspec: all files of a cohort, the manifest last, each whole and once."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest

from polyclinic.app.push import bucket
from polyclinic.app.push.run import push
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import remarks

from .made import cohort

IMAGES = 3


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bucket.BucketSender, "most", 2)
    return cohort(tmp_path / "c", IMAGES)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_a_copy(images: Path, tmp_path: Path) -> None:
    to = (tmp_path / "there" / "c").as_uri()
    assert push(images, to, unreleased=True).sent == IMAGES + 1
    assert tree(tmp_path / "there" / "c") == tree(images)
    assert push(images, to, unreleased=True).held == IMAGES + 1


def test_killed_at_any_file_operation(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, ended = tmp_path / "there", False
    for at in range(1, 40):
        shutil.rmtree(place, ignore_errors=True)
        for left in tmp_path.glob("*c.push.jsonl*"):
            left.unlink()
        child = os.fork()
        if child == 0:
            count = [0]

            def around(do: Any, at: int = at, count: list[int] = count) -> Any:
                def done(*args: Any) -> Any:
                    count[0] += 1
                    if count[0] == at:
                        os._exit(9)
                    return do(*args)

                return done

            monkeypatch.setattr(os, "fsync", around(os.fsync))
            monkeypatch.setattr(Path, "replace", around(Path.replace))
            code = 1
            try:
                push(images, place.as_uri(), unreleased=True)
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if place.exists():  # where the manifest is, all is
            found = tree(place)
            assert "manifest.json" not in found or found.keys() >= tree(images).keys()
        with remarks(lambda _: None):
            push(images, place.as_uri(), unreleased=True)
        assert {name: b for name, b in tree(place).items() if not name.endswith(".part")} == tree(images)
        if ended := code == 0:
            break
        assert code == 9
    assert ended


def test_another_cohort_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="holds another cohort; name another folder"):
        push(images, (tmp_path / "there").as_uri(), unreleased=True)
    with pytest.raises(InputError, match="lies in the cohort itself"):
        push(images, (images / "copy").as_uri(), unreleased=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; expected a folder"):
        push(images, (tmp_path / "file").as_uri(), unreleased=True)


def test_memory_is_forgotten_with_the_process_and_never_taken_as_held(images: Path) -> None:
    memory = fsspec.filesystem("memory")
    for _ in range(2):
        memory.rm("/push-test", recursive=True) if memory.exists("/push-test") else None
        assert push(images, "memory://push-test/c", unreleased=True).sent == IMAGES + 1
        assert len(memory.find("/push-test/c")) == IMAGES + 1
    assert not list(images.parent.glob("*.push.jsonl*"))
    with pytest.raises(InputError, match="is gone with this process; leave the journal out"):
        push(images, "memory://push-test/c", unreleased=True, journal=images.parent / "j")


def test_what_is_lost_there_is_sent_by_check(images: Path, tmp_path: Path) -> None:
    place, journal = tmp_path / "there", tmp_path / "j"
    assert push(images, place.as_uri(), unreleased=True, journal=journal, check=True).sent == IMAGES + 1
    lost = place / "dicom" / "SYN-0001" / "a" / "b" / "c.dcm"
    lost.unlink()
    assert push(images, place.as_uri(), unreleased=True, journal=journal).held == IMAGES + 1
    tally = push(images, place.as_uri(), unreleased=True, journal=journal, check=True)
    assert (tally.sent, tally.lost, tally.held) == (1, 1, IMAGES)
    assert tree(place) == tree(images)
    tally = push(images, place.as_uri(), unreleased=True, journal=tmp_path / "new", check=True)
    assert (tally.sent, tally.lost, tally.held) == (0, 0, IMAGES + 1)
    planned = push(images, place.as_uri(), unreleased=True, journal=tmp_path / "new", dry_run=True)
    assert (planned.sent, planned.held) == (0, IMAGES + 1)
    with pytest.raises(InputError, match="which ask nobody"):
        push(images, place.as_uri(), unreleased=True, check=True, dry_run=True)


def test_a_journal_that_was_changed_names_the_way_out(images: Path, tmp_path: Path) -> None:
    to, journal = (tmp_path / "there").as_uri(), tmp_path / "j"
    push(images, to, unreleased=True, journal=journal)
    whole = journal.read_bytes()
    for changed in (whole[:-40], whole.replace(b"sending", b"SENDING", 1), b"garbage\n" + whole):
        journal.write_bytes(changed)
        with (
            remarks(lambda _: None),
            pytest.raises(
                InputError, match=r"begin another with .*journal NEW .*check, which asks the target"
            ),
        ):
            push(images, to, unreleased=True, journal=journal)
        assert journal.read_bytes() == changed
    journal.write_bytes(whole + b"{half")
    said = list[str]()
    for _ in range(2):
        with remarks(said.append):
            push(images, to, unreleased=True, journal=journal)
    assert len(said) == 1
    assert journal.read_bytes() == whole
    assert (tmp_path / "j.torn").read_bytes() == b"{half\n"
    (tmp_path / "j.head").unlink()
    with remarks(said.append):
        push(images, to, unreleased=True, journal=journal)
    assert "j.head: is not there" in said[1]
    assert (tmp_path / "j.head").exists()


def test_a_journal_in_no_folder_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*nodir; make it, or name a file elsewhere"):
        push(images, (tmp_path / "there").as_uri(), unreleased=True, journal=tmp_path / "nodir" / "j")
    assert not (tmp_path / "nodir").exists()


def test_a_full_disk_is_one_line(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Any) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(bucket, "_copy", full)
        with pytest.raises(
            InputError, match="stopped after 0 of 4: No space left on device; the same command"
        ):
            push(images, (tmp_path / "there").as_uri(), unreleased=True)
    assert push(images, (tmp_path / "there").as_uri(), unreleased=True).sent == IMAGES + 1


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_library_that_lacks_is_named(images: Path) -> None:
    with pytest.raises(InputError, match=r"needs s3fs; pip install 'polyclinic\[s3\]'"):
        push(images, "s3://bucket/c", unreleased=True)


def test_an_s3_server_holds_the_cohort(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto's; neither it nor s3fs is among what tests need: pip install s3fs 'moto[server]'."""
    boto = pytest.importorskip("botocore.session")
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto.get_session().create_client("s3")
        with pytest.raises(InputError, match=r"cannot be read|stopped after 0"):
            push(images, "s3://nobody/c", unreleased=True)
        client.create_bucket(Bucket="bucket")
        assert push(images, "s3://bucket/c", unreleased=True).sent == IMAGES + 1
        assert push(images, "s3://bucket/c", unreleased=True).held == IMAGES + 1
        listed = client.list_objects_v2(Bucket="bucket", Prefix="c/")["Contents"]
        there = {
            o["Key"].removeprefix("c/"): client.get_object(Bucket="bucket", Key=o["Key"])["Body"].read()
            for o in listed
        }
        assert there == tree(images)
    finally:
        server.stop()
