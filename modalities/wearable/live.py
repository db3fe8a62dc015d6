"""LiveWearable: a patient's devices, live: what each records at a second of the day of the visit, and on from there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.config import Settings
from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.types import AnyArray
from .body import DAY, body_of
from .channels import BEATS, CHANNELS
from .day import Day, days
from .figures import devices
from .layout import first_second
from .options import Options
from .pulse import RATE, SITES, Segment, segment
from .wearing import Wearing

PIECE = 60  # s of the pulse that are drawn together
BASIS = (
    "drawn by rules from published figures, not learnt; the day of the visit as on file, and on from there"
)


class LiveWearable:
    """Channels are sent in the second in which they are recorded, so that most seconds have none. Time goes forward.

    `seed` and the facts `ecg` of the record give the body that was drawn, so that the first day is that of the file.
    """

    sparse = True  # seconds without a value are not sent

    def __init__(
        self, profile: PatientProfile, record: Record, seed: int, options: Options, *, signals: Sequence[str],
        start: int = 0, rules: Sequence[Settings] = (), rate: int = RATE,
    ) -> None:  # fmt: skip
        facts = record.facts
        body = body_of(profile, {"signals": facts["ecg"]} if "ecg" in facts else {}, seed)
        presets = devices()
        self._worn = [
            Wearing(presets[name], body, list(presets).index(name))
            for name in facts.get("devices", options.device)
        ]
        self._start, self._number = start, -1
        self._days: Iterator[Day] = days(body, 0)
        self._day: Day | None = None
        self._values: list[tuple[Wearing, dict[str, AnyArray]]] = []
        self._piece: tuple[int, Segment] | None = None
        self.signals = tuple(name for name in signals if name in ("vitals", "ppg"))

    def vitals(self, second: int) -> Mapping[str, float]:
        """`<device>/<channel>` to value, of the channels that have one at that second."""
        place = self._go(second)
        found = {}
        for worn, values in self._values:
            for name, period in worn.device.channels.items():
                if name != BEATS and (place - first_second(period)) % period == 0:
                    value = float(values[name][(place - first_second(period)) // period])
                    if np.isfinite(value):
                        decimals = CHANNELS[name].decimals
                        found[f"{worn.device.name}/{name}"] = (
                            round(value, decimals) if decimals else round(value)
                        )
        return found

    def ecg(self, second: int) -> tuple[Mapping[str, NDArray[np.int16] | None], list[int]]:
        """A wearable has none."""
        return {}, []

    def ppg(self, second: int) -> tuple[Mapping[str, AnyArray], list[int]]:
        """A second of the pulse at each site, arbitrary units, and the samples of the R peaks in it."""
        place = self._go(second)
        assert self._day is not None
        begins = place // PIECE * PIECE
        if self._piece is None or self._piece[0] != self._number * DAY + begins:
            self._piece = self._number * DAY + begins, segment(self._day, begins, PIECE)
        first = (place - begins) * RATE
        wave = self._piece[1].wave[:, first : first + RATE]
        beats = self._day.beats
        own = beats[np.searchsorted(beats, place) : np.searchsorted(beats, place + 1)]
        peaks = ((own - place) * RATE).astype(int).tolist()
        return dict(zip(SITES, np.round(wave.astype(np.float64), 4), strict=True)), peaks

    def describe(self) -> dict[str, Any]:
        """What the signals are, in plain JSON types."""
        channels = {
            f"{worn.device.name}/{name}": {
                "unit": CHANNELS[name].unit, "loinc": CHANNELS[name].loinc, "label": CHANNELS[name].label,
                "period_s": period,
            }
            for worn in self._worn
            for name, period in worn.device.channels.items()
            if name != BEATS
        }  # fmt: skip
        said = {
            "vitals": {
                "rate": 1,
                "channels": channels,
                "origin": "devices that the patient wears",
                "rule_based": BASIS,
            },
            "ppg": {
                "rate": RATE,
                "unit": "1",
                "sites": list(SITES),
                "origin": "the same beats",
                "rule_based": BASIS,
            },
        }
        return {name: said[name] for name in self.signals}

    def _go(self, second: int) -> int:
        """The second of its day; the day is drawn when it begins."""
        number, place = divmod(self._start + second, DAY)
        while self._number < number:
            self._day = next(self._days)
            self._values = (
                [(worn, worn.record(self._day)) for worn in self._worn] if "vitals" in self.signals else []
            )
            self._number += 1
        return place
