"""The viewer's server over real sockets: whom it lets in, what it says, what it refuses to show, and what it loads."""

import http.client
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from polyclinic.app.viewer.bundle import PAGE, _names
from polyclinic.app.viewer.cohort_data import CohortData, compared, distribution
from polyclinic.app.viewer.guard import Guard
from polyclinic.app.viewer.serve import serve
from polyclinic.app.viewer.thumbnails import Thumbnails
from polyclinic.core.cohort import quarantine
from polyclinic.core.errors import InputError, Refused

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "app" / "viewer" / "web"
SECRET = "a secret of sixteen"
Answer = tuple[int, dict[str, str], bytes]


def ask(address: str, path: str, method: str = "GET", body: str = "", **headers: str) -> Answer:
    """Status, headers and body of one request; `Host` as given."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),  # a link that is followed
    ],
)
def test_host_and_origin_are_checked(address: str, headers: dict[str, str], status: int) -> None:
    for path in ("/", "/api/cohort", "/api/session"):
        assert ask(address, path, **headers)[0] == status


@pytest.mark.parametrize("path", ["/api/ward/start", "/api/ward/stop", "/api/ward/event", "/api/jobs/"])
def test_a_post_needs_our_origin_and_the_session(address: str, path: str) -> None:
    session = json.loads(ask(address, "/api/session")[2])["session"]
    ours = address.rstrip("/")
    refused = [
        {},
        {"Origin": ours},
        {"Origin": ours, "X_Polyclinic_Session": "x" * len(session)},
        {"X_Polyclinic_Session": session},
        {"Origin": "http://127.0.0.1:1", "X_Polyclinic_Session": session},  # another page of this machine
        {"Origin": "null", "X_Polyclinic_Session": session},
    ]
    for headers in refused:
        assert ask(address, path, "POST", "{}", **headers)[0] == 403
    status, _, said = ask(address, path, "POST", '{"odd": 1}', Origin=ours, X_Polyclinic_Session=session)
    assert status == (200 if path.endswith("stop") else 400), said


def test_a_page_may_load_nothing_from_elsewhere_and_run_no_text(address: str) -> None:
    for path in ("/", "/api/cohort", "/no/such"):
        policy = ask(address, path)[1]["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert "'unsafe-inline'" not in policy
        assert "'unsafe-eval'" not in policy
        assert "http" not in policy
        assert rules["frame-ancestors"] == "'none'"
    page = ask(address, "/")[2].decode()
    assert re.findall(r"(?:src|href)=\"(?!/assets/|#|data:,)[^\"]+", page) == []


def test_the_bundle_is_gzipped_for_those_who_take_it(address: str) -> None:
    status, headers, packed = ask(address, "/", Accept_Encoding="gzip")
    assert (status, headers["content-encoding"], packed[:2]) == (200, "gzip", b"\x1f\x8b")
    _, headers, plain = ask(address, "/")
    assert "content-encoding" not in headers
    assert plain.startswith(b"<!doctype html>")
    licences = ask(address, "/licenses.txt")[2].decode()
    own = json.loads((WEB / "package.json").read_text())["dependencies"]
    assert set(re.findall(r"(?m)^== (\S+) ", licences)) >= set(own)
    for name in ("../server.py", "%2e%2e%2fserver.py", "main.js", ""):
        assert ask(address, f"/assets/{name}")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/columns/no_such", "/api/columns/..%2Fmanifest.json", "/api/thumbnails/nobody", "/api/report",
        "/api/thumbnails/..%2F..%2Fmanifest.json", "/api/compare?job=1", "/manifest.json", "/api/jobs/9/cancel",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_line(address: str, path: str) -> None:
    status, _, said = ask(address, path)
    assert status in (404, 405)
    assert len(said) < 300
    assert b"Traceback" not in said


def test_the_process_loads_no_torch_and_stays_small(
    folder: Path, other: Path, viewing: Callable[..., Any]
) -> None:
    ids = CohortData(folder).ids
    with viewing(folder, other) as (address, process):
        for path in (
            "/",
            "/api/cohort",
            "/api/conditions",
            "/api/compare",
            "/api/papers",
            "/api/ward/",
            "/api/jobs/",
        ):
            assert ask(address, path)[0] == 200
        for patient in ids:
            assert ask(address, f"/api/thumbnails/{patient}")[0] == 200
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        status = Path(f"/proc/{process.pid}/status").read_text()
    assert "starlette" not in maps or "pyarrow" in maps  # what was looked at is the server
    assert "torch" not in maps
    assert int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) < 250_000


def test_beyond_loopback_nobody_enters_without_the_token(
    folder: Path, tmp_path: Path, viewing: Callable[..., Any]
) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    with viewing(folder, "--host", "0.0.0.0", "--token-file", tmp_path / "token") as (address, _):
        assert ask(address, "/api/cohort")[0] == 401
        assert ask(address, "/api/cohort", Authorization="Bearer wrong")[0] == 401
        assert ask(address, "/api/cohort", Authorization=f"Bearer {SECRET}")[0] == 200
        status, headers, _ = ask(address, f"/?token={SECRET.replace(' ', '%20')}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert ask(address, "/api/cohort", Cookie=cookie.split(";")[0])[0] == 200
        session = json.loads(ask(address, "/api/session", Authorization=f"Bearer {SECRET}")[2])
        assert (session["generate"], session["ward"]) == (False, False)


def command(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "polyclinic", "view", *map(str, arguments), "--no-open", "--port", "0"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_what_is_no_cohort_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(folder, tmp_path / "unfinished")
    manifest = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "unfinished" / "manifest.json").write_text(json.dumps({**manifest, "status": "incomplete"}))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text('{"name": "a web page"}')
    cases = {
        "empty": "no cohort there", "none": "no cohort there", "unfinished": "unfinished",
        "foreign": "not the manifest of a cohort",
    }  # fmt: skip
    for name, expected in cases.items():
        with pytest.raises(InputError, match=expected):
            CohortData(tmp_path / name)
    code, said = command(folder, tmp_path / "foreign")
    assert "not the manifest of a cohort" in said
    assert (code, said.count("\n")) == (2, 1)


def test_a_cohort_in_quarantine_is_not_shown(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "c")
    quarantine.put(tmp_path / "c", {"reasons": ["too near"]})
    with pytest.raises(Refused, match="quarantine"):
        CohortData(tmp_path / "c")


def test_no_token_beyond_loopback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="token-file beyond loopback"):
        Guard.of("0.0.0.0", None)
    (tmp_path / "short").write_text("short")
    with pytest.raises(InputError, match="at least 16"):
        Guard.of("127.0.0.1", tmp_path / "short")


def test_a_ledger_that_is_none_and_a_host_that_is_none_are_told_at_the_start(folder: Path) -> None:
    for wrong, said in ((folder / "manifest.json", "line 1: expected a ledger"), (folder, "cannot be read")):
        with pytest.raises(InputError, match=said):
            serve(folder, ledger=wrong, open_page=False, report=print)
    with pytest.raises(InputError, match="expected an address of this machine"):
        serve(folder, host="nohost.invalid", open_page=False, report=print)


def test_a_file_outside_of_the_cohort_or_hidden_is_not_read(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "c"
    shutil.copytree(folder, place)
    (place / "secret").symlink_to("/etc/passwd")
    (place / ".pending").mkdir()
    (place / ".pending" / "lock").write_text("x")
    cohort = CohortData(place)
    for name in ("../x", "/etc/passwd", "secret", ".pending/lock", "dicom", "no_such", ""):
        with pytest.raises(InputError):
            cohort.path(name)
    assert cohort.path("manifest.json").is_file()


def test_thumbnails_are_bounded(folder: Path) -> None:
    cohort = CohortData(folder)
    all_of_them, few = Thumbnails(cohort), Thumbnails(cohort, 4_000)
    for patient in cohort.ids:
        assert few.of(patient) == all_of_them.of(patient)
    assert few.held <= 4_000 < all_of_them.held


def test_a_distribution_counts_every_value() -> None:
    values = [1.0, 2.0, 2.5, None, 10.0]
    found = distribution("number", values)
    assert sum(found["counts"]) == 4
    assert found["unknown"] == 1
    assert found["edges"][0] <= 1.0
    assert found["edges"][-1] >= 10.0
    assert distribution("number", [3.0, 3.0])["counts"] == [2]
    assert distribution("number", [None])["counts"] == []
    assert distribution("flag", [True, False, True])["counts"] == [2, 1]


def test_a_cohort_does_not_differ_from_itself(folder: Path, other: Path) -> None:
    cohort = CohortData(folder)
    assert {field["difference"] for field in compared(cohort, cohort)["fields"]} <= {0.0, None}
    found = compared(cohort, CohortData(other))
    ages = next(field for field in found["fields"] if field["name"] == "age")
    assert [sum(side["counts"]) for side in ages["sides"]] == [6, 5]
    assert abs(ages["difference"]) > 0


def test_the_bundle_is_the_one_that_was_built() -> None:
    """What build.sh stores beside the bundle is the hash of the sources as they are."""
    if PAGE not in _names():
        pytest.skip("the page is not built: app/viewer/web/build.sh")
    files = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "build.sh"]
    files += [path.relative_to(WEB).as_posix() for path in (WEB / "src").rglob("*") if path.is_file()]
    lines = [f"{sha256((WEB / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(files)]
    built = (ROOT / "app" / "viewer" / "static" / "sources.sha256").read_text().strip()
    assert built == sha256("".join(lines).encode()).hexdigest(), "run app/viewer/web/build.sh"


def test_the_bundle_is_small_and_its_sources_name_no_registry() -> None:
    static = ROOT / "app" / "viewer" / "static"
    assert sum(path.stat().st_size for path in static.rglob("*") if path.is_file()) <= 4_000_000
    lock = json.loads((WEB / "package-lock.json").read_text())
    assert not any("resolved" in package for package in lock["packages"].values())
    own = json.loads((WEB / "package.json").read_text())
    for version in [*own.get("dependencies", {}).values(), *own["devDependencies"].values()]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "viewer/static/assets/*" in patterns["polyclinic.app"]
