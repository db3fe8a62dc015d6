"""Signal files: WFDB, EDF+, DICOM waveforms; what a format may offer besides core.contracts.Format."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from ....core.profile import PatientProfile
from ..layout import Tracing


@runtime_checkable
class CheckedFormat(Protocol):
    """Optional: a format that not every patient fits into."""

    def check(self, profile: PatientProfile) -> None:
        """Raises InputError for a patient whom the format has no room for; asked before any file is written."""
        ...


@runtime_checkable
class TracingFormat(Protocol):
    """Optional: a format whose files of any origin are read for training."""

    def holds(self, path: Path) -> bool:
        """Whether the file is of this format, by its name or its first bytes."""
        ...

    def tracing(self, path: Path) -> Tracing:
        """The signals of a file. Raises InputError naming the path."""
        ...
