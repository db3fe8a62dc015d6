"""Polyclinic: linked synthetic patients (images, signals, omics and the record that ties them together)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .conditioning.encoder import ProfileEncoder
    from .conditioning.population import Population
    from .core.cohort.cohort import Cohort
    from .core.errors import InputError
    from .core.modality import Batch, Record
    from .core.pipeline import Patient, generate
    from .core.profile import PatientProfile, seed_for
    from .core.registry import load_modality

_HOMES = {
    "Batch": ".core.modality",
    "Cohort": ".core.cohort.cohort",
    "InputError": ".core.errors",
    "Patient": ".core.pipeline",
    "PatientProfile": ".core.profile",
    "Population": ".conditioning.population",
    "ProfileEncoder": ".conditioning.encoder",
    "Record": ".core.modality",
    "generate": ".core.pipeline",
    "load_modality": ".core.registry",
    "seed_for": ".core.profile",
}

__all__ = [
    "Batch",
    "Cohort",
    "InputError",
    "Patient",
    "PatientProfile",
    "Population",
    "ProfileEncoder",
    "Record",
    "__version__",
    "generate",
    "load_modality",
    "seed_for",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import polyclinic` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
