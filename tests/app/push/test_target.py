"""URLs of targets: each odd one is one clear line, and no password is repeated in it."""

import pytest

from polyclinic.app.push.target import parse_target
from polyclinic.core.errors import InputError


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "expected dicomweb"),
        ("pacs.example", "expected dicomweb"),
        ("http://pacs.example", "unknown scheme 'http'"),
        ("dicomweb://pacs.example", "unknown scheme 'dicomweb'"),
        ("gopher://pacs.example/x", "unknown scheme 'gopher'"),
        ("dicomweb+http://", "no host"),
        ("dicomweb+http://:8042/x", "no host"),
        ("dicomweb+http://pacs:port/x", "expected dicomweb"),
        ("dicomweb+http://pacs:99999/x", "Port out of range"),
        ("dicomweb+http://pacs:0/x", "port 0 is none"),
        ("dicomweb+http://[::1/x", "Invalid IPv6 URL"),
        ("dicomweb+http://pacs/x?limit=3", "without \\? and #"),
        ("fhir+https://alice:s3cret@fhir.example/r4", "no credentials in a URL"),
        ("fhir+https://al ice@fhir.example/r4", "no spaces"),
        ("dicom://pacs.example:104", "expected dicom://AET@host:port; the AE title"),
        ("dicom://PACS@pacs.example", "no port"),
        ("dicom://PACS@:104", "no host"),
        ("dicom://PACS:s3cret@pacs.example:104", "an AE has no password"),
        ("dicom://SEVENTEEN-LETTERS@pacs.example:104", "1 to 16 characters"),
        ("dicom://PACS@pacs.example:104/folder", "has no path"),
        ("file://folder/c", "three slashes"),
        ("file:///", "root of the file system"),
        ("s3://", "expected s3://bucket/folder"),
        ("s3://key:s3cret@bucket/c", "no credentials in a URL"),
    ],
)
def test_an_odd_url_is_one_clear_line(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        parse_target(url)
    assert "\n" not in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "dicomweb+http://127.0.0.1:8042/dicom-web", "dicomweb+https://[::1]:8042/x", "fhir+https://fhir.example/r4",
        "dicom://ORTHANC@[::1]:4242", "s3://bucket/folder", "file:///tmp/c", "memory://c", "gs://bucket",
    ],
)  # fmt: skip
def test_a_url_is_what_it_says(url: str) -> None:
    assert parse_target(url).url == parse_target(url + "/").url == url
