"""Polyclinic: linked synthetic patients (images, signals, omics and the record that ties them together)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.icu_folder import spare_icu

__version__ = "0.1.0"
spare_icu()

if TYPE_CHECKING:
    from .app.api import (
        Evaluation,
        Trained,
        compare,
        convert,
        evaluate,
        generate,
        generate_cohort,
        open_cohort,
        release,
        stream,
        train,
    )
    from .app.cohort import Cohort
    from .app.push.run import push
    from .conditioning.encoder import ProfileEncoder
    from .conditioning.population import Population
    from .core.errors import InputError, Refused
    from .core.modality import Batch, Record
    from .core.pipeline import Patient
    from .core.profile import PatientProfile, seed_for
    from .core.registry import load_modality

_HOMES = {
    **dict.fromkeys(
        ("Evaluation", "Trained", "compare", "convert", "evaluate", "generate", "generate_cohort", "open_cohort",
         "release", "stream", "train"), ".app.api",
    ),
    "Batch": ".core.modality",
    "Cohort": ".app.cohort",
    "InputError": ".core.errors",
    "Patient": ".core.pipeline",
    "PatientProfile": ".core.profile",
    "Population": ".conditioning.population",
    "ProfileEncoder": ".conditioning.encoder",
    "Record": ".core.modality",
    "Refused": ".core.errors",
    "load_modality": ".core.registry",
    "push": ".app.push.run",
    "seed_for": ".core.profile",
}  # fmt: skip

__all__ = [
    "Batch",
    "Cohort",
    "Evaluation",
    "InputError",
    "Patient",
    "PatientProfile",
    "Population",
    "ProfileEncoder",
    "Record",
    "Refused",
    "Trained",
    "__version__",
    "compare",
    "convert",
    "evaluate",
    "generate",
    "generate_cohort",
    "load_modality",
    "open_cohort",
    "push",
    "release",
    "seed_for",
    "stream",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import polyclinic` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    if name == "inference":  # a module of its own, with names for those who analyse
        return import_module(".inference", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
