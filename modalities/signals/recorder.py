"""The recorder between a drawn patient and the files: its settings, its noise, and the study it makes of an ECG."""

from dataclasses import replace

from pydantic import model_validator

from ...core.modality import Batch, Generator, Record
from .artefacts import Noise, add
from .export import ExportOptions
from .layout import study_of


class SignalsOptions(ExportOptions):
    """How signals are recorded and written: `recorder` is the data set of the ECG weights whose look they have.

    `clean` puts the trace without its noise beside the noisy one.
    """

    recorder: str | None = None
    noise: Noise = Noise()
    clean: bool = False

    @model_validator(mode="after")
    def _clean_beside_noise(self) -> "SignalsOptions":
        if self.clean and self.noise.silent:
            raise ValueError("clean writes the trace without its noise; set a dial of noise too")
        return self


class Recorder:
    """A generator's records as a recorder has them: with noise, and the UIDs that formats beside WFDB need."""

    def __init__(self, drawn: Generator, options: SignalsOptions) -> None:
        self.drawn, self.options = drawn, options

    def sample(self, batch: Batch) -> list[Record]:
        """Row i from its own seed; without options the generator's own records."""
        rows = zip(self.drawn.sample(batch), batch.profiles, batch.seeds, strict=True)
        noisy = [(add(r, p, s, self.options.noise, self.options.clean), s) for r, p, s in rows]
        if not self.options.dated:
            return [record for record, _ in noisy]
        return [replace(record, facts={**record.facts, **study_of(seed)}) for record, seed in noisy]
