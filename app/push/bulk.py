"""Bulk import: Parameters that tell a FHIR server which NDJSON files to pull, and the wait for its answer."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from ...core.cohort.cohort import Cohort
from ...core.errors import InputError
from .sender import REFUSED, SENT, Item, Outcome
from .target import Target
from .web import Broken, Pauses, Web, refusal

NDJSON = "application/fhir+ndjson"
PREFER = {
    "Accept": "application/fhir+json",
    "Content-Type": "application/fhir+json",
    "Prefer": "respond-async",
}
POLL = 2.0  # s between questions, where the server does not say


def import_request(cohort: Cohort, place: str) -> Item:
    """The request to pull the cohort's NDJSON files from below `place`, an https:// or s3:// URL. Raises InputError."""
    if "://" not in place:
        raise InputError(
            f"--import-from {place}: expected the URL that the cohort's files can be pulled from"
        )
    names = [
        name for name in cohort.manifest["files"] if name.startswith("fhir/") and name.endswith(".ndjson")
    ]
    if not names:
        raise InputError(f"{cohort.folder}: no FHIR files; generate it with the modality records")
    inputs = [
        {"name": "input", "part": [
            {"name": "type", "valueCode": Path(name).stem},
            {"name": "url", "valueUri": f"{place.rstrip('/')}/{quote(name)}"},
        ]}
        for name in names
    ]  # fmt: skip
    storage = {"name": "storageDetail", "part": [{"name": "type", "valueCode": place.partition(":")[0]}]}
    request = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "inputFormat", "valueCode": NDJSON},
            {"name": "inputSource", "valueUri": place},
            {"name": "mode", "valueString": "IncrementalLoad"},
            storage,
            *inputs,
        ],
    }
    content = json.dumps(request, separators=(",", ":")).encode()
    return Item("fhir_import.json", sha256(content).hexdigest(), len(content), content=content)


class ImportSender:
    """See sender.Sender: one request, and questions until the server has pulled everything."""

    most, most_bytes, parallel = 1, 64_000_000, 1

    def __init__(self, target: Target, auth: Path | None, ca: Path | None) -> None:
        self._web, self._target = Web(target, auth, ca, 1), target

    def open(self) -> None:
        """See sender.Sender."""
        self._web.reach("/metadata", {"Accept": PREFER["Accept"]})

    def held(self, items: Sequence[Item]) -> set[str]:
        """See sender.Sender: a server does not say what it has imported; an import may be repeated."""
        return set()

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """See sender.Sender."""
        return [self._imported(item) for item in items]

    def _imported(self, item: Item) -> Outcome:
        pauses = Pauses(self._web.closing)
        while True:
            try:
                answer = self._web.once("POST", "/$import", item.content, PREFER)
                break
            except Broken as broken:
                pauses.wait(broken)
        place = answer.headers.get("content-location")
        while answer.status_code == 202 and place:
            if self._web.closing.wait(float(answer.headers.get("retry-after", POLL))):
                break
            answer = self._web.get(place, {"Accept": PREFER["Accept"]})
        return Outcome(item, SENT) if answer.is_success else Outcome(item, REFUSED, refusal(answer))

    def close(self) -> None:
        """See sender.Sender."""
        self._web.close()
