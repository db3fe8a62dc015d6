"""FHIR: patients as bundles to @medplum/fhir-router behind HTTP, and to a server that fails as it is told."""

import json
import os
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyclinic as pc
from polyclinic.app.push import web
from polyclinic.app.push.fhir import closed_half, ordered, references
from polyclinic.app.push.run import push
from polyclinic.app.push.source import items, of_all
from polyclinic.app.push.target import parse_target
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.errors import InputError

from .made import BENCHMARKS

NODE_MODULES = os.environ.get("POLYCLINIC_NODE_MODULES", "")
PATIENTS = 2


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE", 0.002)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", web.AUTH):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("r") / "c"
    pc.generate_cohort("icu", PATIENTS, out=folder, seed=7, modalities=["records"], workers=1)
    return folder


def written(folder: Path) -> dict[str, Any]:
    """Type/id of every resource of a cohort, and the resource."""
    lines = [line for path in (folder / "fhir").glob("*.ndjson") for line in path.read_text().splitlines()]
    return {f"{r['resourceType']}/{r['id']}": r for r in map(json.loads, lines)}


@contextmanager
def medplum(most: str = "") -> Iterator[str]:
    """The router; the URL to push to."""
    command = ["node", str(BENCHMARKS / "fhir_http.cjs"), NODE_MODULES, *([most] if most else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        assert node.stdin is not None
        try:
            yield f"fhir+http://127.0.0.1:{int(node.stdout.readline())}/fhir"
        finally:
            node.stdin.close()


def asked(url: str, path: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return json.load(opener.open(url.removeprefix("fhir+") + path))


def require_whole(records: Path, put: dict[str, int]) -> None:
    """Every resource of a patient was put once, and all that they refer to."""
    own = {name: r for name, r in written(records).items() if not of_all(r)}
    assert own.keys() <= put.keys()
    assert {name for r in own.values() for name in references(r) if "/" in name} <= put.keys()
    assert set(put.values()) == {1}


@pytest.mark.skipif(
    not NODE_MODULES, reason="POLYCLINIC_NODE_MODULES names no folder with npm's @medplum packages"
)
def test_a_fhir_server_holds_every_resource_put_once(records: Path, tmp_path: Path) -> None:
    with medplum(most="60000") as url:  # bytes of a bundle: less than some are
        first = push(records, url, unreleased=True, journal=tmp_path / "j")
        assert (first.refused, first.held) == ({}, 0)
        again = push(records, url, unreleased=True, journal=tmp_path / "j")
        assert (again.sent, again.held) == (0, first.sent)
        assert max(sizes(records)) > 60000
        require_whole(records, asked(url, "/versions"))
        name = next(name for name in written(records) if name.startswith("Observation/"))
        assert asked(url, f"/{name}")["code"] == written(records)[name]["code"]


def sizes(records: Path) -> list[int]:
    """Bytes of each patient's bundle."""
    cohort = Cohort.open(records)
    return [item.size for item in items(cohort, parse_target("fhir+http://x/fhir"))]


class Server:
    """Takes bundles; `faults` are used up, one a POST: a status, `before` or `after` it has taken the bundle."""

    def __init__(self) -> None:
        self.faults, self.put, self.imports, outer = list[Any](), Counter[str](), list[Any](), self
        self.held: dict[str, Any] = {}
        self.kinds: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self, status: int, content: Any, **heads: str) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                for name, value in {**heads, "Content-Length": str(len(body))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                name = self.path.removeprefix("/fhir/")
                if name == "metadata":
                    self.answer(200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"})
                elif name.startswith("poll"):
                    self.answer(*((202, {}) if not outer.imports[1:] else (200, {})), Retry_After="0")
                    outer.imports.append("polled")
                else:
                    self.answer(200 if name in outer.held else 404, outer.held.get(name, {}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fault = outer.faults.pop(0) if outer.faults else None
                if body["resourceType"] == "Parameters":
                    outer.imports.append(body)
                    place = f"http://{self.headers['Host']}/fhir/poll"
                    self.answer(202, {}, Content_Location=place, Retry_After="0")
                    return
                outer.kinds.add(body["type"])
                if isinstance(fault, int):
                    issue = {"issue": [{"diagnostics": "no such code"}]}
                    self.answer(fault, issue)
                    return
                if fault != "before":
                    for entry in body["entry"]:
                        outer.put[entry["request"]["url"]] += 1
                        outer.held[entry["request"]["url"]] = entry["resource"]
                if fault in ("before", "after"):
                    self.close_connection = True
                    return
                self.answer(200, {"entry": [{"response": {"status": "201 Created"}} for _ in body["entry"]]})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"fhir+http://127.0.0.1:{self.server.server_address[1]}/fhir"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_transaction_in_doubt_is_asked_for(records: Path, server: Server, tmp_path: Path) -> None:
    server.faults = ["after", "before", 503, "after", None, 429]
    tally = push(records, server.url, unreleased=True, journal=tmp_path / "j")
    assert tally.refused == {}
    assert tally.held == 2
    require_whole(records, server.put)


def test_one_that_is_refused_does_not_stop_the_rest(records: Path, server: Server, tmp_path: Path) -> None:
    server.faults = [None, 422]
    tally = push(records, server.url, unreleased=True, journal=tmp_path / "j")
    assert list(tally.refused.values()) == ["HTTP 422 Unprocessable Entity no such code"]
    again = push(records, server.url, unreleased=True, journal=tmp_path / "j", bundle="batch")
    assert (again.sent, again.held, server.kinds) == (1, PATIENTS, {"transaction", "batch"})
    require_whole(records, server.put)


def test_an_import_is_asked_for_once_and_waited_for(records: Path, server: Server, tmp_path: Path) -> None:
    how: Any = {"unreleased": True, "journal": tmp_path / "j", "import_from": "https://bucket.example/c/"}
    assert push(records, server.url, **how).sent == 1
    request = server.imports[0]
    urls = [p["part"][1]["valueUri"] for p in request["parameter"] if p["name"] == "input"]
    assert sorted(urls) == sorted(
        f"https://bucket.example/c/fhir/{p.name}" for p in (records / "fhir").glob("*.ndjson")
    )
    assert server.imports[1:] == ["polled", "polled"]
    assert push(records, server.url, **how).held == 1
    assert len(server.imports) == 3


def test_what_is_no_fhir_server(records: Path, server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no FHIR server there \(HTTP 404 .* for /metadata\)"):
        push(records, server.url + "/x", unreleased=True, journal=tmp_path / "j")
    with pytest.raises(InputError, match="bundle all: expected one of transaction, batch"):
        push(records, server.url, unreleased=True, bundle="all")
    with pytest.raises(InputError, match="only a FHIR server pulls files"):
        push(records, "dicom://A@127.0.0.1:4242", unreleased=True, import_from="https://x")
    with pytest.raises(InputError, match="no DICOM files"):
        push(records, "dicom://A@127.0.0.1:4242", unreleased=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), st.permutations(range(10)))
def test_each_comes_after_those_it_refers_to(pairs: list[tuple[int, int]], order: list[int]) -> None:
    """Of references without a circle, in any order of the entries; a cut leaves none that points behind it."""
    entries = [
        {
            "request": {"url": f"Basic/{n}"},
            "resource": {
                "also": [{"reference": f"Basic/{low}"} for low, high in pairs if high == n and low < n]
            },
        }
        for n in order
    ]
    found = ordered(entries)
    seen: set[str] = set()
    for entry in found:
        assert references(entry["resource"]) <= seen
        seen.add(entry["request"]["url"])
    assert len(seen) == len(entries)
    assert closed_half(found) == len(found) // 2


def test_a_circle_is_never_cut() -> None:
    circle = [
        {"request": {"url": f"Basic/{n}"}, "resource": {"subject": {"reference": f"Basic/{(n + 1) % 3}"}}}
        for n in range(3)
    ]
    assert closed_half(ordered(circle)) == 0
    others = [
        {"request": {"url": f"Basic/of-{n}"}, "resource": {"subject": {"reference": "Basic/1"}}}
        for n in range(3)
    ]
    assert closed_half(ordered([*others, *circle])) == 3
