"""Extras: packages that only some uses need; where one is absent, one line says how it is installed."""

from importlib.util import find_spec

from .errors import InputError

# module -> the package that has it, and the extra of ours that brings it
EXTRAS = {
    "cryptography": ("cryptography", "release"),
    "duckdb": ("duckdb", "omop"),
    "edfio": ("edfio", "edf"),
    "highdicom": ("highdicom", "seg"),
    "imagecodecs": ("imagecodecs", "images"),
    "jpeg_ls": ("pyjpegls", "images"),
    "nibabel": ("nibabel", "images"),
    "openjpeg": ("pylibjpeg-openjpeg", "images"),
    "paho": ("paho-mqtt", "stream"),
    "pylibjpeg": ("pylibjpeg", "images"),
    "pysam": ("pysam", "genotypes"),
    "ray": ("ray", "ray"),
    "starlette": ("starlette", "view"),
    "uvicorn": ("uvicorn", "view"),
    "websockets": ("websockets", "stream"),
}


def install_line(extra: str) -> str:
    """The command that brings an extra, as messages and docs have it.

    pip finds Polyclinic installed, from a clone or an index, and adds the extra's packages alone.
    """
    return f"pip install 'polyclinic[{extra}]'"


def need(what: str, *modules: str) -> None:
    """Raises InputError, which says what needs which package, if one of these modules of EXTRAS is not installed."""
    for module in modules:
        package, extra = EXTRAS[module]
        if find_spec(module) is None:
            raise InputError(f"{what} needs {package}; {install_line(extra)}")
