"""Options of the modality: `generate --set wearable.days=30`."""

from pydantic import Field, field_validator

from ...core.config import Settings
from ...core.registry import formats_of
from .figures import devices

LONGEST = 45  # days; times of beats are whole ms in 32 bits
NATIVE = "parquet"


class Options(Settings):
    """`days` that end with the index day; `device`: presets, one or several; `formats` beside Parquet.

    `ppg` adds the pulse: `ppg_segments` segments of `ppg_seconds` on the index day, the first at the ECG.
    """

    days: int = Field(default=7, ge=1, le=LONGEST)
    device: tuple[str, ...] = ("watch", "cgm", "cuff")
    formats: tuple[str, ...] = ()
    ppg: bool = False
    ppg_seconds: int = Field(default=60, ge=10, le=600)
    ppg_segments: int = Field(default=4, ge=1, le=48)

    @field_validator("device")
    @classmethod
    def _presets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = devices()
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"expected some of the presets {', '.join(known)}, got {unknown[0]!r}")
        if not value or len(set(value)) < len(value):
            raise ValueError("expected a preset, and each once")
        return value

    @field_validator("formats")
    @classmethod
    def _installed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = formats_of("wearable")
        value = tuple(name for name in value if name != NATIVE)  # which is always written
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"expected some of {', '.join(known)}, got {unknown[0]!r}")
        return value
