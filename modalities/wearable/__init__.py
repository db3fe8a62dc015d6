"""Wearable: what a watch, ring, patch, glucose sensor or cuff records before the visit; by rules, without weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.assertions import Assertion
from ...core.config import Settings, parse
from ...core.extras import need
from ...core.modality import Batch, Record, View
from ...core.profile import PatientProfile
from ...core.registry import load_format
from ...core.rule_based import RuleBased
from .metrics import RULES
from .options import Options

if TYPE_CHECKING:
    from .live import LiveWearable
    from .model import WearableRules


class Wearable(RuleBased):
    """A month of one body: heart, sleep, steps, glucose and pressure, as devices record them."""

    name = "wearable"
    after: tuple[str, ...] = ("signals",)
    shared = False
    live_signals = ("vitals", "ppg")  # what --signals may name
    on_request = True  # see core.capabilities.OnRequest
    indication = "every patient, where asked for (--modalities ...,wearable); by rules, not learnt"

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """Raises InputError for an unknown option, preset or format."""
        self.options = parse(Options, dict(options or {}), "wearable")

    @property
    def bytes_per_record(self) -> int:
        """For an early look at the room on a disk: 1 MB a day in all formats."""
        return 1_000_000 * self.options.days * (1 + len(self.options.formats))

    def require_packages(self) -> None:
        """EDF needs edfio; see core.capabilities.NeedsPackages."""
        if "edf" in self.options.formats:
            need("wearable.formats: edf", "edfio")

    def generator(self, columns: Sequence[str]) -> "WearableRules":
        """The rules; the code's columns are not used, profile and facts are."""
        from .model import WearableRules

        self.require_packages()
        return WearableRules(self.options)

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """Parquet, and the other formats asked for."""
        from .export import export

        written = export(records, profiles, folder)
        for name in self.options.formats:
            written += load_format(self.name, name).write(records, profiles, folder)
        return written

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """Nothing is shared."""
        return []

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Records of a cohort, from its Parquet files."""
        from .data import read

        return read(folder, patient_ids)

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """Whose files they are, and the heart rate at the time of the ECG; see core.capabilities.Asserting."""
        from .assertions import assertions

        return assertions(folder, patient_ids)

    def live_rules(self) -> Mapping[str, type[Settings]]:
        """None but those of the network; see core.capabilities.Live."""
        return {}

    def live(
        self, profile: PatientProfile, record: Record, seed: int, *, row: Batch | None = None,
        columns: Sequence[str] = (), **how: Any,
    ) -> "LiveWearable":  # fmt: skip
        """The devices live, on the day of the visit and on from there; `how` as LiveWearable takes it."""
        from .live import LiveWearable

        return LiveWearable(profile, record, seed, self.options, **how)

    def rule_names(self) -> Mapping[str, str]:
        """See core.capabilities.ClinicalRules."""
        return RULES

    def breaches(self, record: Record) -> list[tuple[str, str]]:
        """What breaks a rule, each with the words for it."""
        from .metrics import breaches

        return list(breaches(record))

    def views(self) -> list[View]:
        """None: there is no real counterpart; benchmarks/wearable.py holds it against published figures."""
        return []
