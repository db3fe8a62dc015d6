"""routes(): what the page of one patient asks for."""

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from .cohort_data import CohortData


def routes(cohort: "CohortData") -> list[BaseRoute]:
    """The routes below /api/patients/{id} of one cohort."""

    def files(request: "Request") -> Response:
        return JSONResponse(list(cohort.files_of(request.path_params["id"])))

    return [Route("/api/patients/{id}/files", files)]
