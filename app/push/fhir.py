"""FhirSender: patients to a FHIR R4 server, a transaction each; every resource is put under its own id.

A PUT may be repeated: what is there already is the same resource again, never a second one.
"""

import json
from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from ...core.config import read_json
from ...core.errors import InputError, listed
from .sender import HELD, REFUSED, SENT, Item, Outcome
from .target import Target
from .web import Broken, Pauses, Web, refusal

JSON = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
OF_SERVERS = ("meta", "text")  # what a server may change of a resource


class FhirSender:
    """See sender.Sender. `kind` of its bundles is transaction (all or nothing) or batch (each entry by itself)."""

    most, most_bytes = 1, 64_000_000

    def __init__(self, target: Target, auth: Path | None, ca: Path | None, parallel: int, kind: str) -> None:
        self.parallel, self._kind, self._target = parallel, kind, target
        self._web = Web(target, auth, ca, parallel)

    def open(self) -> None:
        """See sender.Sender."""
        answer = self._web.reach("/metadata", {"Accept": JSON["Accept"]})
        found = _json(answer)
        if answer.status_code != 200 or found.get("resourceType") not in (
            "CapabilityStatement",
            "Conformance",
        ):
            raise InputError(
                f"--to {self._target.url}: no FHIR server there ({refusal(answer)} for /metadata); expected its base "
                "URL, as fhir+https://host/fhir"
            )
        if not str(found.get("fhirVersion", "4")).startswith("4"):
            raise InputError(
                f"--to {self._target.url}: speaks FHIR {found['fhirVersion']}; the records are R4 (4.0.1)"
            )

    def held(self, items: Sequence[Item]) -> set[str]:
        """See sender.Sender: a transaction is there if its last resource is, as we would put it."""
        if self._kind != "transaction":
            return set()
        return {item.name for item in items if self._has(_entries(item)[-1])}

    def _has(self, entry: dict[str, Any]) -> bool:
        answer = self._web.get("/" + entry["request"]["url"], {"Accept": JSON["Accept"]})
        there, ours = _json(answer), entry["resource"]
        return answer.status_code == 200 and all(
            there.get(key) == value for key, value in ours.items() if key not in OF_SERVERS
        )

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """See sender.Sender."""
        return [self._delivered(item) for item in items]

    def _delivered(self, item: Item) -> Outcome:
        pauses, entries = Pauses(self._web.closing), _entries(item)
        while True:
            try:
                reasons = self._put(entries)
                return Outcome(item, REFUSED, listed(reasons, 3)) if reasons else Outcome(item, SENT)
            except Broken as broken:
                pauses.wait(broken)
                if self.held([item]):
                    return Outcome(item, HELD)

    def _put(self, entries: list[dict[str, Any]]) -> list[str]:
        """Put resources; what the server refuses of them, a line each. One that is too large goes in two."""
        bundle = {"resourceType": "Bundle", "type": self._kind, "entry": entries}
        content = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()
        answer = self._web.once("POST", "", content, JSON)
        if answer.status_code == 413 and (first := closed_half(entries)):
            return self._put(entries[:first]) or self._put(entries[first:])
        if answer.status_code in (404, 405, 501):
            raise InputError(f"--to {self._target.url}: takes no bundles: {refusal(answer)}")
        if not answer.is_success:
            return [refusal(answer, lambda: _issues(_json(answer)))]
        responses = [entry.get("response", {}) for entry in _json(answer).get("entry", [])]
        return [
            f"{entry['request']['url']}: {response.get('status')} {_issues(response.get('outcome') or {})}".strip()
            for entry, response in zip(entries, responses, strict=False)
            if not str(response.get("status", "200")).startswith("2")
        ]

    def close(self) -> None:
        """See sender.Sender."""
        self._web.close()


def _entries(item: Item) -> list[dict[str, Any]]:
    """Of a bundle: each resource after those that it refers to."""
    return ordered(read_json(item.read().decode())["entry"])


def ordered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of a bundle, each after those that it refers to; those that refer to each other in a circle together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = {entry["request"]["url"]: number for number, entry in enumerate(entries)}
    pairs = [
        (n, place[u]) for n, e in enumerate(entries) for u in sorted(references(e["resource"])) if u in place
    ]
    rows, columns = [n for n, _ in pairs], [m for _, m in pairs]
    graph = coo_array(([1] * len(pairs), (rows, columns)), shape=(len(entries), len(entries)))
    _, labels = connected_components(graph, directed=True, connection="strong")
    circles: dict[int, list[int]] = {}
    for number, label in enumerate(labels.tolist()):
        circles.setdefault(label, []).append(number)
    before: dict[int, set[int]] = {label: set() for label in circles}
    for n, m in pairs:
        before[int(labels[n])] |= {int(labels[m])} - {int(labels[n])}
    return [
        entries[number] for label in TopologicalSorter(before).static_order() for number in circles[label]
    ]


def closed_half(entries: list[dict[str, Any]]) -> int:
    """How many of ordered entries, about half, refer to none after them; 0 where there is no such number."""
    place = {entry["request"]["url"]: number for number, entry in enumerate(entries)}
    last = [
        max((place[u] for u in references(e["resource"]) if u in place), default=-1) for e in entries
    ]  # the latest that each refers to
    cuts = [n for n in range(1, len(entries)) if max(last[:n]) < n]
    return min(cuts, key=lambda n: abs(2 * n - len(entries)), default=0)


def references(value: Any) -> set[str]:
    """Type/id of every reference in a resource."""
    if isinstance(value, dict):
        own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
        return own.union(*(references(inner) for inner in value.values()))
    return set[str]().union(*(references(inner) for inner in value)) if isinstance(value, list) else set()


def _json(answer: Any) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _issues(outcome: dict[str, Any]) -> str:
    """What an OperationOutcome says."""
    issues = outcome.get("issue", [])
    texts = [i.get("diagnostics") or i.get("details", {}).get("text") or i.get("code", "") for i in issues]
    return "; ".join(str(text) for text in texts[:2])
