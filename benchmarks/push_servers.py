"""Archives to push to: made-up ones that fail as they are told, and Orthanc away from the network.

    python benchmarks/push_servers.py FOLDER   # one by STOW-RS and one by C-STORE, until killed; ports.json there

The made-up ones keep in FOLDER/stored.jsonl which instance came how often, and answer QIDO-RS and C-FIND from it.
"""

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pydicom

ALONE = ("unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "bash")
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70")


class Store:
    """What an archive was sent: how often each instance came, and of which study; also in a file, if one is given."""

    def __init__(self, file: Path | None = None) -> None:
        self.came, self.study, self.file, self._lock = (
            Counter[str](),
            dict[str, str](),
            file,
            threading.Lock(),
        )

    def add(self, tags: pydicom.Dataset) -> None:
        """Keep an instance."""
        with self._lock:
            uid = str(tags.SOPInstanceUID)
            self.came[uid] += 1
            self.study[uid] = str(tags.StudyInstanceUID)
            if self.file is not None:
                with self.file.open("a") as lines:
                    lines.write(json.dumps([uid, str(tags.StudyInstanceUID)]) + "\n")

    def read(self) -> "Store":
        """As it stands in the file, which several archives write to and which may have been emptied since."""
        if self.file is None:
            return self
        found = Store()
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            uid, found.study[uid] = json.loads(line)
            found.came[uid] += 1
        return found


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that are gone."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Other errors are printed."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class Archive:
    """A DICOMweb archive of one process. `faults` are used up by STOW requests, one each; then all goes well.

    503, 429, 413 and 500 are answers; `before` and `after` hang up before or after it has stored what came; `half`
    stores half of it and hangs up. `refused` are instances that it never takes, `poison` those for which a whole
    request fails; `most` bytes are the largest body; `header` is the Authorization that it asks for.
    """

    def __init__(self, store: Store | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.store, self.faults, self.requests = store or Store(), list[Any](), 0
        self.refused, self.poison = set[str](), set[str]()
        self.most, self.header, self.after, self.seen = 1 << 30, "", "0", list[str]()
        self.busy: Callable[[], bool] = lambda: self.active > 0
        self.active = 0
        self.server = _Quiet(("127.0.0.1", 0), self._handler())
        self.scheme = "http" if tls is None else "https"
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """To push to."""
        return f"dicomweb+{self.scheme}://127.0.0.1:{self.port}/dicom-web"

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        archive = self

        class Handler(BaseHTTPRequestHandler):
            """Its requests."""

            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

            def answer(self, status: int, content: Any = None, **heads: str) -> None:
                body = json.dumps([] if content is None else content).encode()
                self.send_response(status)
                for name, value in heads.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def admitted(self) -> bool:
                archive.seen.append(self.headers.get("Authorization", ""))
                if archive.header and archive.seen[-1] != archive.header:
                    self.answer(401)
                    return False
                return True

            def do_GET(self) -> None:
                if not self.admitted():
                    return
                parts = urlsplit(self.path).path.split("/")[2:]
                while parts == ["idle"] and archive.busy():  # what was sent is being stored
                    time.sleep(0.005)
                if parts == ["idle"]:
                    self.answer(200)
                    return
                if parts[:1] != ["studies"]:
                    self.answer(404)
                    return
                store = archive.store.read()
                known = [u for u, study in store.study.items() if len(parts) > 1 and study == parts[1]]
                self.answer(200, [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in known])

            def do_POST(self) -> None:
                archive.active += 1
                try:
                    self.take()
                finally:
                    archive.active -= 1

            def take(self) -> None:
                length = int(self.headers["Content-Length"] or 0)
                if length > archive.most:  # as many servers do: not all of the body is read
                    self.answer(413, Connection="close")
                    self.close_connection = True
                    return
                body = self.rfile.read(length)
                if not body or len(body) < length:  # the client is gone
                    self.close_connection = True
                    return
                if not self.admitted():
                    return
                archive.requests += 1
                fault = archive.faults.pop(0) if archive.faults else None
                if isinstance(fault, int):
                    self.answer(fault, Retry_After=archive.after)
                    return
                if fault == "before":
                    self.close_connection = True
                    return
                found = parts_of(body, self.headers["Content-Type"].rpartition("boundary=")[2])
                uids = [str(tags.SOPInstanceUID) for tags in found]
                if archive.poison & set(uids):
                    self.answer(400)
                    return
                good = [tags for tags, uid in zip(found, uids, strict=True) if uid not in archive.refused]
                for tags in good[: len(good) // 2] if fault == "half" else good:
                    archive.store.add(tags)
                if fault in ("after", "half"):
                    self.close_connection = True
                    return
                bad = [uid for uid in uids if uid in archive.refused]
                stored = [{"00081155": _uid(str(tags.SOPInstanceUID))} for tags in good]
                failed = [{"00081155": _uid(u), "00081197": {"vr": "US", "Value": [0xA900]}} for u in bad]
                content = {"00081199": {"vr": "SQ", "Value": stored}}
                content |= {"00081198": {"vr": "SQ", "Value": failed}} if failed else {}
                self.answer(200 if not bad else 409 if not good else 202, content)

        return Handler


def _uid(text: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [text]}


def parts_of(body: bytes, boundary: str) -> list[pydicom.Dataset]:
    """The headers of the DICOM files of a multipart body."""
    files = [part.partition(b"\r\n\r\n")[2] for part in body.split(b"--" + boundary.encode())[1:-1]]
    return [pydicom.dcmread(BytesIO(file[:-2]), stop_before_pixels=True) for file in files]


def listen(
    store: Store,
    refused: frozenset[str] = frozenset(),
    syntaxes: tuple[str, ...] = SYNTAXES,
    aborts: bool = False,
) -> tuple[Any, int]:
    """ARCHIVE, by C-STORE and C-FIND on a free port of loopback: its server, to shut down, and the port.

    Where `aborts`, it aborts the association when store.add() raises.
    """
    import pynetdicom
    from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage

    entity = pynetdicom.AE(ae_title="ARCHIVE")
    entity.require_called_aet = True
    entity.acse_timeout, entity.network_timeout = 2, 5  # s; a client that was killed is given up soon
    for sop_class in (SecondaryCaptureImageStorage, DigitalXRayImageStorageForPresentation):
        entity.add_supported_context(sop_class, list(syntaxes))
    entity.add_supported_context(FIND)

    def stored(event: Any) -> int:
        tags = event.dataset
        if str(tags.SOPInstanceUID) in refused:
            return 0xC000
        try:
            store.add(tags)
        except ConnectionAbortedError:
            if aborts:
                event.assoc.abort()
        return 0x0000

    def found(event: Any) -> Iterator[tuple[int, Any]]:
        asked = str(event.identifier.SOPInstanceUID)
        if asked in store.read().came:
            answer = pydicom.Dataset()
            answer.QueryRetrieveLevel, answer.SOPInstanceUID = "IMAGE", asked
            yield 0xFF00, answer

    handlers = [(pynetdicom.evt.EVT_C_STORE, stored), (pynetdicom.evt.EVT_C_FIND, found)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    return server, server.server_address[1]


def no_orthanc() -> str | None:
    """Why Orthanc with DICOMweb cannot run here, if so."""
    if (
        shutil.which("Orthanc") is None
        or not Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so").exists()
    ):
        return "apt-get install orthanc orthanc-dicomweb"
    if shutil.which("nsenter") is None or subprocess.run([*ALONE, "true"], check=False).returncode:
        return "no network namespaces here, and Orthanc would listen on all interfaces"
    return None


class Orthanc:
    """A running one; `run` runs a command where it can be reached: in its own network namespace."""

    WEB = "dicomweb+http://127.0.0.1:8042/dicom-web"
    DIMSE = "dicom://ORTHANC@127.0.0.1:4242"

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def inside(self, *command: str) -> list[str]:
        """A command as it is started there."""
        return ["nsenter", "-t", str(self.process.pid), "-U", "-n", "--preserve-credentials", *command]

    def ask(self, path: str, method: str = "GET") -> Any:
        """What its REST API answers."""
        code = (
            "import sys, urllib.request as u; r = u.Request('http://127.0.0.1:8042' + sys.argv[1], method=sys.argv[2]);"
            "sys.stdout.write(u.build_opener(u.ProxyHandler({})).open(r).read().decode())"
        )
        done = subprocess.run(
            self.inside(sys.executable, "-S", "-c", code, path, method),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def empty(self) -> None:
        """Delete all that it holds."""
        code = (
            "import json, urllib.request as u; o = u.build_opener(u.ProxyHandler({})); h = 'http://127.0.0.1:8042';\n"
            "for p in json.load(o.open(h + '/patients')): o.open(u.Request(h + '/patients/' + p, method='DELETE'))\n"
            "o.open(u.Request(h + '/changes', method='DELETE'))"
        )
        subprocess.run(self.inside(sys.executable, "-S", "-c", code), check=True)

    def holds(self) -> int:
        """How many instances."""
        return int(self.ask("/statistics")["CountInstances"])

    def arrivals(self) -> int:
        """How many instances it has taken as new since it was emptied."""
        changes = self.ask("/changes?limit=100000")["Changes"]
        return sum(change["ChangeType"] == "NewInstance" for change in changes)


@contextmanager
def orthanc(home: Path) -> Iterator[Orthanc]:
    """One with DICOMweb and C-STORE, in a network namespace of its own, as its user may be: AE title ORTHANC."""
    settings = {
        "StorageDirectory": f"{home}/store", "IndexDirectory": f"{home}/store", "RemoteAccessAllowed": True,
        "AuthenticationEnabled": False, "DicomServerEnabled": True, "DicomAet": "ORTHANC", "DicomPort": 4242,
        "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "HttpPort": 8042,
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
    }  # fmt: skip
    (home / "orthanc.json").write_text(json.dumps(settings))
    command = [*ALONE, "Orthanc", str(home / "orthanc.json")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = Orthanc(process)
        for _ in range(300):
            assert process.poll() is None, "Orthanc ended"
            try:
                found.ask("/system")
                break
            except subprocess.CalledProcessError:
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    """Serve until the parent ends."""
    home = Path(sys.argv[1])
    web = Archive(Store(home / "stored.jsonl"))
    server, port = listen(Store(home / "stored.jsonl"))
    web.busy = lambda: web.active > 0 or bool(server.active_associations)
    part = home / ".ports.json"
    part.write_text(json.dumps({"web": web.url, "dimse": f"dicom://ARCHIVE@127.0.0.1:{port}"}))
    part.replace(home / "ports.json")
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
