"""Answers of the routes, made by pydantic alone.

A route that returns a model has FastAPI validate it once more before it is written.
"""

from pydantic import BaseModel
from starlette.responses import Response


def json_response(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
