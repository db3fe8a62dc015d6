"""Routes of the patient page: what a patient has, and each object in the form that the page draws. No torch."""

import io
import re
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.cohort.cohort import PATIENTS
from ...core.errors import InputError, first_line
from ...core.profile import PatientProfile
from . import patient_omics, patient_signals
from .cohort_data import HAS
from .patient_files import DAMAGED, NotThere, PatientFiles
from .patient_links import Links
from .patient_record import chart, pieces, shown_by

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from .cohort_data import CohortData

STORE = re.compile(r"(?:[\w-]+/)?omics/[\w .+@()=-]+\.zarr/.+")
BINARY, DICOM = "application/octet-stream", "application/dicom"
Handler = Callable[["CohortData", "Request"], "Response"]


def routes(cohort: "CohortData") -> "list[Route]":
    """Of one cohort. What cannot be shown is one line of JSON, {"error": ...}: 404 for what is not there, else 422."""
    from starlette.routing import Route

    links = Links(cohort.folder)
    threading.Thread(target=_warm, daemon=True).start()
    of = "/api/patients/{id}"
    handlers: dict[str, Handler] = {
        of: _patient,
        f"{of}/dicom/{{n:int}}": _dicom,
        f"{of}/mask/{{n:int}}/{{segment:int}}": _mask,
        f"{of}/ecg/{{n:int}}": _ecg,
        f"{of}/vitals/{{n:int}}": _series,
        f"{of}/samples/{{n:int}}": _samples,
        f"{of}/times/{{n:int}}": _times,
        f"{of}/omics": _omics,
        f"{of}/record": _record,
        f"{of}/notes": _notes,
        f"{of}/links": partial(_links, links),
        "/api/store/{path:path}": _store,
    }
    return [Route(path, partial(_answer, handler, cohort)) for path, handler in handlers.items()]


def _warm() -> None:
    """Import what the first patient page would wait for."""
    for name in ("pydicom", "wfdb", "zarr", "pyarrow.parquet"):
        import_module(name)


async def _answer(handler: Handler, cohort: "CohortData", request: "Request") -> "Response":
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse

    try:
        return await run_in_threadpool(handler, cohort, request)
    except NotThere as error:
        return JSONResponse({"error": str(error)}, 404)
    except InputError as error:
        return JSONResponse({"error": first_line(error)}, 422)


def _files(cohort: "CohortData", request: "Request") -> PatientFiles:
    return PatientFiles(cohort, request.path_params["id"])


def objects(files: PatientFiles, broken: list[str] | None = None) -> list[dict[str, Any]]:
    """All that a patient has to be looked at: series of images, masks, ECGs, other signals, omics samples.

    What cannot be read is left out, and told in `broken`, a line a file.
    """
    told = [] if broken is None else broken
    return [*files.images(told), *patient_signals.listed(files, told), *patient_omics.samples(files, told)]


def _patient(cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import JSONResponse

    files = _files(cohort, request)
    place, broken = files.ranks[files.patient_id], list[str]()
    return JSONResponse({
        "id": files.patient_id,
        "place": place,
        "patients": len(files.ranks),
        "before": cohort.ids[place - 1] if place else None,
        "after": cohort.ids[place + 1] if place + 1 < len(cohort.ids) else None,
        "profile": _profile(cohort, files),
        "objects": objects(files, broken),
        "broken": broken,
        "has": {name: bool(list((cohort.folder / folder).glob(ending)))
                for name, folder, ending in (("record", "fhir", "*.ndjson"), ("notes", "notes", "*.jsonl"))},
    })  # fmt: skip


def _profile(cohort: "CohortData", files: PatientFiles) -> dict[str, Any]:
    """The profile as the table of patients has it, each field with its label and unit."""
    import pyarrow.parquet as pq

    place = files.ranks[files.patient_id]
    row = pq.read_table(cohort.path(PATIENTS), use_threads=False).slice(place, 1).to_pylist()[0]
    day = row.get("index_date")
    plain = {name: row.get(name) for name in ("age", "sex", "height", "weight")}
    born = PatientProfile(files.patient_id, age=row.get("age"), index_date=day).birth_date
    fields = []
    for name in cohort.columns:
        if name in plain or name.startswith(HAS) or row.get(name) is None:
            continue
        field = cohort.field(name)
        fields.append(
            {"name": name, "label": field.label, "unit": field.unit, "kind": field.kind, "value": row[name]}
        )
    days = {"index_date": day.isoformat() if day else None, "born": born.isoformat() if born else None}
    return {**plain, **days, "fields": fields}


def _dicom(cohort: "CohortData", request: "Request") -> "Response":
    """An image's file; with ?plain its pixels uncompressed, since no decoder runs under the page's policy."""
    from starlette.responses import FileResponse, Response

    files = _files(cohort, request)
    name = files.named(files.dicom, request.path_params["n"], "image")
    path = cohort.path(name)
    if "plain" in request.query_params and (plain := _uncompressed(path, name)) is not None:
        return Response(plain, media_type=DICOM)
    return FileResponse(path, media_type=DICOM)


def _uncompressed(path: Path, name: str) -> bytes | None:
    """The file with its pixels uncompressed; None where they are."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        if not pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_compressed:
            return None
        dataset = pydicom.dcmread(path)
        dataset.decompress()
        out = io.BytesIO()
        dataset.save_as(out)
    except (InvalidDicomError, *DAMAGED) as error:
        raise InputError(f"{name}: cannot be decoded ({type(error).__name__})") from None
    return out.getvalue()


def _mask(cohort: "CohortData", request: "Request") -> "Response":
    """A segment of a DICOM segmentation over one image, (row, column) bytes, 0 or 255: ?of=SOP instance UID."""
    from starlette.responses import Response

    from .patient_masks import mask

    files = _files(cohort, request)
    name = files.named(files.dicom, request.path_params["n"], "mask")
    found = mask(cohort.path(name), request.path_params["segment"], request.query_params.get("of", ""))
    shape = "x".join(map(str, found.shape))
    return Response(found.tobytes(), media_type=BINARY, headers={"X-Shape": shape})


def _ecg(cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(patient_signals.ecg(_files(cohort, request), request.path_params["n"]))


def _series(cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(patient_signals.about(_files(cohort, request), request.path_params["n"]))


def _samples(cohort: "CohortData", request: "Request") -> "Response":
    """See patient_signals.samples: ?start=S&seconds=S."""
    from starlette.responses import Response

    start, seconds = (_number(request, name) for name in ("start", "seconds"))
    found = patient_signals.samples(_files(cohort, request), request.path_params["n"], start or 0.0, seconds)
    return Response(found, media_type=BINARY)


def _times(cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import Response

    found = patient_signals.times(_files(cohort, request), request.path_params["n"])
    return Response(found, media_type=BINARY)


def _number(request: "Request", name: str) -> float | None:
    if not (text := request.query_params.get(name, "")):
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise InputError(f"{name}: expected a number of seconds, got {text[:40]!r}")
    return float(text)


def _omics(cohort: "CohortData", request: "Request") -> "Response":
    """See patient_omics.position: ?store=omics/rna.zarr."""
    from starlette.responses import JSONResponse

    files = _files(cohort, request)
    store = request.query_params.get("store", "")
    if store not in files.stores():
        raise NotThere(f"no omics store {store[:80]!r} in this cohort; name one by ?store=")
    return JSONResponse(patient_omics.position(files, store))


def _record(cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import JSONResponse

    files = _files(cohort, request)
    if not (resources := files.resources()):
        raise NotThere(f"{files.patient_id} has no health record")
    return JSONResponse(chart(resources, shown_by(resources, objects(files))))


def _notes(cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import JSONResponse

    files = _files(cohort, request)
    if not (notes := files.notes()):
        raise NotThere(f"{files.patient_id} has no notes")
    links = shown_by(files.resources(), objects(files))
    return JSONResponse(sorted((pieces(note, links) for note in notes), key=lambda note: str(note["date"])))


def _links(links: Links, cohort: "CohortData", request: "Request") -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(links.of(_files(cohort, request).patient_id))


def _store(cohort: "CohortData", request: "Request") -> "Response":
    """A file of an omics store, whole or by Range, as zarr readers ask for it."""
    from starlette.responses import FileResponse

    path = request.path_params["path"]
    if not STORE.fullmatch(path):
        raise NotThere(f"{path[:80]!r} is no file of an omics store")
    try:
        return FileResponse(cohort.path(path), media_type=BINARY)
    except InputError:
        raise NotThere(f"no file {path[:80]!r} in this cohort") from None
