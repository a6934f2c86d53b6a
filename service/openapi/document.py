"""The OpenAPI document: that of FastAPI, completed by what middleware adds to every operation."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.http import problems
from service.http.caller import GUARDED
from service.http.request_headers import IDEMPOTENCY_HEADER, MAX_KEY_LENGTH
from service.openapi.examples import EXAMPLES
from service.openapi.links import add_links
from service.settings import ServiceSettings

CELL: dict[str, Any] = {"type": ["number", "string", "boolean", "null"]}
"""The schema of a cell; null is a missing value."""
LOCATION: dict[str, Any] = {
    "Location": {"description": "Where it is.", "required": True, "schema": {"type": "string", "pattern": "^/v1/"}}
}
"""The headers of an answer with a new or changed resource."""
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "description": "The same key and request again gives the same answer, and nothing is done twice. For a day answers "
    "of success are kept, and refusals (400, 413, 415, 422) for which the request alone was wrong; where something was "
    "missing or busy the request is judged anew.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
}
REPLAYED = {"description": "The answer is that of an earlier request.", "schema": {"const": "true"}}
REQUEST_ID: dict[str, Any] = {
    "description": "The caller's own where that is sane, else made here; it is in the log.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
}


def document(app: FastAPI, settings: ServiceSettings) -> dict[str, Any]:
    """Return the OpenAPI document, which is built once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _add_components(made.setdefault("components", {}))
        for path, calls in made["paths"].items():
            for method, operation in calls.items():
                _complete(path, method, operation)
        add_links(made["paths"])
        _add_bounds(made["paths"], made["components"]["schemas"], settings)
        app.openapi_schema = made
    return app.openapi_schema


def _add_bounds(paths: dict[str, Any], schemas: dict[str, Any], settings: ServiceSettings) -> None:
    """Add the limits of jobs, rows and files that are settings."""

    def json_of(path: str) -> dict[str, Any]:
        schema: dict[str, Any] = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return schema

    jobs, grid = json_of("/v1/batches")["anyOf"]
    values = grid["properties"]["grid"]["additionalProperties"]
    for schema in (jobs, values):
        schema["maxItems"] = settings.max_batch_jobs
    max_rows = {
        "/v1/datasets": settings.max_cells,
        "/v1/models/{ref}/predict": settings.max_predict_rows,
        "/v1/models/{ref}/explain": settings.max_predict_rows,
    }
    for path, limit in max_rows.items():
        for shape in json_of(path)["anyOf"]:
            # a list is the rows themselves
            named = shape.get("properties", {})
            rows = named.get("data") or named.get("rows") or shape
            rows["maxItems"] = limit
    schemas["UploadRequest"]["properties"]["bytes"]["maximum"] = settings.max_body_bytes
    for path in [template for template in paths if template.endswith("/infer")]:
        # every value takes at least a byte
        tensor = json_of(path)["properties"]["inputs"]["items"]
        tensor["properties"]["data"]["maxItems"] = settings.max_json_bytes


def _add_components(components: dict[str, Any]) -> None:
    schemas = components.setdefault("schemas", {})
    for stray in ("HTTPValidationError", "ValidationError"):
        schemas.pop(stray, None)
    problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Add what middleware does to an operation, and remove wrong assumptions of FastAPI."""
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        # FastAPI adds it for any parameter; routes declare where input can be invalid
        del responses["422"]
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _present(parameter["schema"])
    if any(path.startswith(prefix) for prefix in GUARDED):
        # the empty alternative is for a service without keys
        operation["security"] = [{"key": []}, {}]
        _answers(responses, 401, 403, 429, 503)
    _answers(responses, 421, 431)
    if method == "post":
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
        for status in [status for status in responses if status.startswith("2")]:
            responses[status].setdefault("headers", {})["Idempotency-Replayed"] = REPLAYED
        _answers(responses, 409, 507)
    if method in ("post", "patch", "put"):
        _answers(responses, 408, 413, 422)
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-ID"] = REQUEST_ID


def _answers(responses: dict[str, Any], *statuses: int) -> None:
    responses.update({str(status): response for status, response in problems.problems(*statuses).items()})


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter without null, which only stands for its absence."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}
