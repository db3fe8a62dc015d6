"""stream_live(): a StreamRequest is checked before anything starts, then run to its end and summed up."""

import asyncio
import contextlib
import math
import re
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.limits import require
from ...core.registry import load_modality
from .address import Address, make_sink, parse_address
from .run import Pace, Stream, Tally, run
from .ward import SIGNALS, Ward, WardRequest, ward_of_cohort, ward_of_population

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


FASTEST = 1e9  # times real time


@dataclass(frozen=True)
class StreamRequest:
    """The command's options, as they were written; `options` are those of --set, by modality and key."""

    to: str
    folder: Path | None = None
    cohort: str | None = None
    patients: int | None = None
    speed: str = "1"
    seed: int = 0
    start: str = "00:00"
    signals: str = "ecg,vitals"
    fhir: bool = False
    scenario: str | None = None
    when_full: str = ""
    seconds: float | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    modality: str = "signals"


def stream_live(request: StreamRequest, report: Callable[[str], None]) -> Tally:
    """Stream until it ends or is interrupted; `report` gets lines for the user. Raises InputError."""
    address, speed, start = parse_address(request.to), _speed(request.speed), _start(request.start)
    if request.when_full not in ("", "drop", "wait"):
        raise InputError(f"--when-full: expected drop or wait, got {request.when_full!r}")
    require(patients=request.patients, seed=request.seed, seconds=request.seconds)
    wait = request.when_full == "wait" or (not request.when_full and speed is None)
    ward = _ward(request, address, start)
    sink = make_sink(address, wait)

    def began(_: Stream) -> None:
        report(f"{ward.name}: beds {ward.beds[0].name} to {ward.beds[-1].name} go to {address}")
        if notice := getattr(sink, "notice", ""):
            report(f"{address}: {notice}")

    pace = Pace(speed, request.seconds, start, request.fhir)
    tally = asyncio.run(_until_told(run(ward, sink, pace, began=began)))
    report(_summary(tally))
    return tally


async def _until_told(stream: Coroutine[Any, Any, Tally]) -> Tally:
    """A stream that SIGTERM stops as Ctrl-C does: it sends what waits and says what was sent."""
    task = asyncio.ensure_future(stream)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(
        NotImplementedError, RuntimeError, ValueError
    ):  # not the main thread, or Windows
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:  # nothing was sent yet
        raise KeyboardInterrupt from None
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGTERM)


def _ward(request: StreamRequest, address: Address, start: int) -> Ward:
    signals = tuple(dict.fromkeys(name.strip() for name in request.signals.split(",") if name.strip()))
    modality = load_modality(request.modality)  # raises for a name that is none
    known = getattr(modality, "live_signals", SIGNALS)
    if not signals or set(signals) - set(SIGNALS):
        raise InputError(f"--signals: expected some of {', '.join(known)}, got {request.signals!r}")
    options = request.options.get(request.modality, {})
    ward_request = WardRequest(
        request.patients,
        request.seed,
        signals,
        address.rate,
        start,
        request.scenario,
        options,
        request.modality,
    )
    if (request.folder is None) == (request.cohort is None):
        raise InputError("expected either the folder of a cohort or --cohort NAME")
    if other := sorted(set(request.options) - {request.modality}):
        raise InputError(f"--set {other[0]}: a stream takes settings of {request.modality} alone")
    if request.folder is not None and options:
        key = f"{request.modality}.{next(iter(options))}"
        raise InputError(f"--set {key}: {request.folder} keeps the settings it was drawn with; leave it out")
    if request.folder is not None:
        return ward_of_cohort(request.folder, ward_request)
    assert request.cohort is not None
    return ward_of_population(request.cohort, ward_request)


def _speed(text: str) -> float | None:
    """Times real time; None for max."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed <= FASTEST:
        raise InputError(f"--speed: expected a number above 0 and at most {FASTEST:g}, or max, got {text!r}")
    return speed


def _start(text: str) -> int:
    """Seconds after midnight."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise InputError(f"--start: expected a time of day as HH:MM, got {text!r}")
    return int(found[1]) * 3600 + int(found[2]) * 60


def _summary(tally: Tally) -> str:
    parts = [f"{tally.sent} messages sent", f"{tally.dropped} dropped"]
    if tally.left:
        parts.append(f"{tally.left} not delivered")
    if tally.lost_by_scenario or tally.duplicated:
        parts.append(f"by the scenario {tally.lost_by_scenario} lost and {tally.duplicated} doubled")
    if (late := tally.lateness.quantile(0.99)) is not None:
        middle = tally.lateness.quantile(0.5) or 0.0
        parts.append(f"lateness {1000 * middle:.1f} ms (median), {1000 * late:.1f} ms (99th percentile)")
    return ", ".join(parts)
