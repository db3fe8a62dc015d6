"""generate(): the one dataflow loop. CLI, engine, stream and notebook all draw patients from it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from .capabilities import Watermarking
from .cohort.watermark import Mark
from .modality import Batch, Conditioner, Generator, Modality, Record, in_order
from .profile import PatientProfile, seed_for


@dataclass(frozen=True)
class Patient:
    """A profile and its records by modality name; a modality without indication is absent."""

    profile: PatientProfile
    records: Mapping[str, Record]


def load_generators(modalities: Sequence[Modality], conditioner: Conditioner) -> dict[str, Generator]:
    """Each modality's generator on the weights in force; loading takes seconds, so load once."""
    return {m.name: m.generator(conditioner.columns) for m in modalities}


def generate(
    profiles: Iterable[PatientProfile],
    modalities: Sequence[Modality],
    conditioner: Conditioner,
    seed: int,
    batch_size: int = 16,
    generators: Mapping[str, Generator] | None = None,
    resampled: Mapping[str, int] | None = None,
) -> Iterator[Patient]:
    """Yield one Patient a profile, in order.

    Records depend on the profile, the run's seed and the weights; never on batch_size, on the other
    patients or on the place in the sequence. `generators` are those loaded already, if any. `resampled` gives
    modalities another draw of the same patients, by number; 0 is the first.
    """
    ordered = in_order(modalities)
    generators = generators or load_generators(ordered, conditioner)
    waiting = iter(profiles)
    while chunk := tuple(islice(waiting, batch_size)):
        condition = conditioner.encode(chunk)
        drawn: list[dict[str, Record]] = [{} for _ in chunk]
        for modality in ordered:
            rows = [i for i, profile in enumerate(chunk) if modality.indicated(profile)]
            if not rows:
                continue
            draw = (resampled or {}).get(modality.name, 0)
            stream = f"{modality.name}/{draw}" if draw else modality.name
            batch = Batch(
                profiles=tuple(chunk[i] for i in rows),
                condition=condition[rows],
                seeds=tuple(seed_for(seed, chunk[i].patient_id, stream) for i in rows),
                facts=tuple({name: record.facts for name, record in drawn[i].items()} for i in rows),
                declared=conditioner.declared,
            )
            for i, record in zip(rows, generators[modality.name].sample(batch), strict=True):
                drawn[i][modality.name] = record
        for profile, records in zip(chunk, drawn, strict=True):
            yield Patient(profile, records)


class Watermarked:
    """A generator whose records carry a mark, so that what later modalities state of them is true of the files."""

    def __init__(self, generator: Generator, modality: Watermarking, mark: Mark) -> None:
        self.generator, self.modality, self.mark = generator, modality, mark

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row of the batch."""
        drawn = self.generator.sample(batch)
        return [
            self.modality.mark(record, self.mark, profile.patient_id)
            for record, profile in zip(drawn, batch.profiles, strict=True)
        ]


def watermarked(
    generators: Mapping[str, Generator], modalities: Mapping[str, Modality], mark: Mark
) -> dict[str, Generator]:
    """Generators by name, those of modalities that can carry a watermark with it."""
    return {
        name: Watermarked(generator, modality, mark)
        if isinstance(modality := modalities[name], Watermarking)
        else generator
        for name, generator in generators.items()
    }
