"""Target: where a cohort is pushed to, from a URL: an archive, a FHIR server, a bucket or a folder."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from ...core.errors import InputError
from ...core.extras import install_line

ARCHIVE, ARCHIVE_DIMSE, FHIR, BUCKET = "DICOMweb", "DICOM", "FHIR", "bucket"
_WEB = {"dicomweb+http": ARCHIVE, "dicomweb+https": ARCHIVE, "fhir+http": FHIR, "fhir+https": FHIR}
EXPECTED = (
    "expected dicomweb+https://host/path, dicom://AET@host:port, fhir+https://host/path, s3://bucket/folder, "
    "file:///folder or another URL that fsspec knows"
)
_AET = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


@dataclass(frozen=True)
class Target:
    """A parsed URL. `url` is what journals name it by; it holds no credentials."""

    kind: str
    url: str
    host: str = ""
    port: int = 0
    aet: str = ""

    @property
    def web(self) -> str:
        """The http or https URL of a web service, without a slash at its end."""
        return self.url.partition("+")[2]

    @property
    def loopback(self) -> bool:
        """Whether it is a server of this machine."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_target(url: str) -> Target:
    """The target a user wrote. Raises InputError: unknown scheme, no host, no port of an AE, or credentials in it.

    >>> parse_target("dicom://ORTHANC@127.0.0.1:4242").aet
    'ORTHANC'
    """
    if any(ord(letter) < 33 or ord(letter) == 127 for letter in url):
        raise InputError(f"--to {url!r}: a URL has no spaces and no control characters; {EXPECTED}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--to {_without_password(url)}: {error}; {EXPECTED}") from None
    scheme = parts.scheme
    if "://" not in url or not scheme:
        raise InputError(f"--to {_without_password(url)!r}: {EXPECTED}")
    if scheme == "dicom":
        return _archive(url, parts.username, parts.password, parts.hostname, port, parts.path)
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"--to {_without_password(url)}: no credentials in a URL, which process lists show; give --auth FILE or "
            "the environment variable POLYCLINIC_PUSH_AUTH"
        )
    if scheme in _WEB:
        if not parts.hostname:
            raise InputError(f"--to {url}: no host; expected {scheme}://host/path")
        if parts.query or parts.fragment:
            raise InputError(f"--to {url}: expected the base URL of the service, without ? and #")
        if port == 0:
            raise InputError(f"--to {url}: port 0 is none; expected 1 to 65535")
        return Target(_WEB[scheme], url.rstrip("/"), parts.hostname, port or 0)
    return _bucket(url, scheme, parts.netloc, parts.path)


def is_aet(title: str) -> bool:
    """Whether it can be the title of a DICOM application entity (PS3.5, VR AE)."""
    return bool(_AET.fullmatch(title) and title.strip())


def _archive(
    url: str, aet: str | None, password: str | None, host: str | None, port: int | None, path: str
) -> Target:
    expected = f"--to {_without_password(url)}: expected dicom://AET@host:port"
    if password is not None:
        raise InputError(f"{expected}; an AE has no password")
    if not aet or not is_aet(aet):
        raise InputError(f"{expected}; the AE title of the archive has 1 to 16 characters, as ORTHANC")
    if not host:
        raise InputError(f"{expected}; no host")
    if not port:
        raise InputError(f"{expected}; no port, as 104, 4242 or 11112")
    if path.strip("/"):
        raise InputError(f"{expected}; an archive has no path, got {path!r}")
    shown = f"[{host}]" if ":" in host else host
    return Target(ARCHIVE_DIMSE, f"dicom://{aet}@{shown}:{port}", host, port, aet)


def _bucket(url: str, scheme: str, place: str, path: str) -> Target:
    try:
        from fsspec.registry import known_implementations, registry
    except ImportError:
        raise InputError(f"--to {url}: needs fsspec; {install_line('push')}") from None
    if scheme not in {*known_implementations, *registry} or scheme in ("http", "https", "data"):
        raise InputError(f"--to {url}: unknown scheme {scheme!r}; {EXPECTED}")
    if scheme in ("file", "local"):
        if place:
            raise InputError(f"--to {url}: expected file:///folder, with three slashes")
        if not path.strip("/"):
            raise InputError(f"--to {url}: expected a folder, got the root of the file system")
    elif not (place or path.strip("/")):
        raise InputError(f"--to {url}: expected {scheme}://bucket/folder")
    return Target(BUCKET, url.rstrip("/"))


def _without_password(url: str) -> str:
    """A URL for messages."""
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}{mark}{'...' if ':' in user else user}{at}{host}{slash}{path}"
