"""Responses of the routes, serialized by pydantic.

A route that returns a model instead has FastAPI validate it a second time.
"""

from pydantic import BaseModel
from starlette.responses import Response


def json_response(schema: type[BaseModel], resource: object) -> Response:
    """Return the resource, an object with the schema's attributes, as JSON."""
    content = schema.model_validate(resource).model_dump_json()
    return Response(content, media_type="application/json")
