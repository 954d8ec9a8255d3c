"""The OpenAPI document of the API, made from the declarations that also check the requests.

Pure. https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ccdaemon.api.errors import STATUS
from ccdaemon.api.methods.method import Method
from ccdaemon.api.param_types import Patterns
from ccdaemon.api.parameters import Parameter
from ccdaemon.api.params import AFTER, PAGE
from ccdaemon.api.rendering import CONTENT_TYPE
from ccdaemon.api.sse import CONTENT_TYPE as EVENT_STREAM
from ccdaemon.api.sse import PARAMETERS as OF_EVENTS
from ccdaemon.errors import Code
from ccdaemon.event_schema import OperatorAnnouncement, RecordAnnouncement, StateAnnouncement

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
#: Refusals that any request may meet.
_ALWAYS = (
    Code.BAD_PARAMETER,
    Code.UNAUTHORIZED,
    Code.FORBIDDEN,
    Code.BODY_TOO_LARGE,
    Code.INTERNAL,
)
_KEYS: list[Document] = [{}, {"bearer": []}, {"api_key": []}]
_ANNOUNCED = (StateAnnouncement, OperatorAnnouncement, RecordAnnouncement)
_PAGING = {name: {"type": "integer"} for name in ("page", "per_page", "total", "pages")}


def openapi(methods: Sequence[Method], patterns: Patterns, version: str, server: str) -> Document:
    """Describe the API as it is configured.

    :param server: the address that the paths are appended to.
    """
    shapes, schemas = _schemas(methods)
    paths = {
        f"/api/{method.name}": {
            "get": _operation(method, shapes, patterns, "query"),
            "post": _operation(method, shapes, patterns, "body"),
        }
        for method in methods
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ccdaemon",
            "version": version,
            "description": "Append .json or .xml to a method's path to choose the format;"
            " without a suffix the Accept header decides.",
        },
        "servers": [{"url": server}],
        "paths": paths | _events_path(shapes, patterns) | _record_paths(),
        "components": {
            "schemas": {**schemas, "Error": _error_schema()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "query", "name": "api_key"},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
            },
        },
        "security": _KEYS,
    }


def _schemas(methods: Sequence[Method]) -> tuple[dict[type, Any], dict[str, Any]]:
    """Give a reference for each type of row, and the schemas these refer to."""
    rows = (row for method in methods for row in method.rows)
    objects = (method.answers for method in methods if method.answers is not None)
    types: list[type] = list(dict.fromkeys((*rows, *objects, *_ANNOUNCED)))
    references, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(zip(types, references, strict=True)), schemas


def _operation(method: Method, shapes: dict[type, Any], patterns: Patterns, place: str) -> Document:
    operation: Document = {
        "operationId": method.name if place == "query" else f"{method.name}ByPost",
        "summary": (method.run.__doc__ or "").splitlines()[0],
        "responses": _responses(_success(method, shapes), _refusals(method)),
    }
    if place == "query":
        operation["parameters"] = list(_in_query(method, patterns))
    else:
        operation["requestBody"] = {"content": _in_body(method, patterns)}
    return operation


def _in_query(method: Method, patterns: Patterns) -> Iterable[Document]:
    for parameter in (*method.required, *method.optional):
        yield {
            "name": parameter.name,
            "in": "query",
            "required": parameter in method.required,
            "description": parameter.about,
            "schema": _parameter_schema(parameter, patterns),
        }


def _in_body(method: Method, patterns: Patterns) -> Document:
    every = (*method.required, *method.optional)
    schema: Document = {
        "type": "object",
        "properties": {
            parameter.name: {
                **_parameter_schema(parameter, patterns),
                "description": parameter.about,
            }
            for parameter in every
        },
    }
    if method.required:
        schema["required"] = [parameter.name for parameter in method.required]
    types = ("application/x-www-form-urlencoded", "application/json", "multipart/form-data")
    return {media_type: {"schema": schema} for media_type in types}


def _parameter_schema(parameter: Parameter[Any], patterns: Patterns) -> Document:
    schema = dict(parameter.kind.schema(patterns))
    if parameter.default is not None:
        default = parameter.default
        schema["default"] = int(default) if isinstance(default, bool) else default
    return schema


def _success(method: Method, shapes: dict[type, Any]) -> Document:
    """Describe the envelope of what a method answers."""
    if method.answers is not None:
        return _envelope(shapes[method.answers])
    if not method.rows:
        response: Document = _object({"call_id": {"type": "integer"}})
        return _envelope(response)
    shape = [shapes[row] for row in method.rows]
    rows: Document = {"type": "array", "items": shape[0] if len(shape) == 1 else {"anyOf": shape}}
    if method.data:
        return _envelope(_object({**_PAGING, "data": rows}))
    beside = _PAGING if _takes(method, PAGE) else {}
    envelope = _envelope(rows)
    envelope["properties"] |= beside
    if _takes(method, AFTER):
        envelope["properties"]["next"] = {"type": "string"}
    return envelope


def _envelope(response: Document) -> Document:
    return _object(
        {
            "status": {"const": "ok"},
            "status_code": {"const": 200},
            "response": response,
        }
    )


def _object(properties: Document) -> Document:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _refusals(method: Method) -> Sequence[Code]:
    missing = (Code.MISSING_PARAMETER,) if method.required else ()
    too_deep = (Code.TOO_DEEP,) if _takes(method, PAGE) else ()
    return (*_ALWAYS, *missing, *too_deep, *method.refusals)


def _takes(method: Method, parameter: Parameter[Any]) -> bool:
    return parameter in method.optional


def _responses(success: Document, refusals: Sequence[Code]) -> Document:
    responses: Document = {"200": {"description": "done", "content": _content(success)}}
    for status in sorted({STATUS[code] for code in refusals}):
        codes = sorted({code.value for code in refusals if STATUS[code] == status})
        responses[str(status)] = {
            "description": ", ".join(codes),
            "content": _content({"$ref": _REF.format(name="Error")}),
        }
    return responses


def _content(schema: Document) -> Document:
    return {
        media_type.partition(";")[0]: {"schema": schema} for media_type in CONTENT_TYPE.values()
    }


def _error_schema() -> Document:
    error = _object(
        {"code": {"enum": [code.value for code in Code]}, "message": {"type": "string"}}
    )
    error["properties"] |= {
        "field": {"type": "string"},
        "call_id": {"type": "integer"},
        "state": {"type": "string"},
    }
    return _object(
        {
            "status": {"const": "error"},
            "status_code": {"type": "integer"},
            "response": {"type": "null"},
            "error": error,
        }
    )


def _events_path(shapes: dict[type, Any], patterns: Patterns) -> Document:
    refusals = (Code.TOO_MANY_STREAMS, Code.HISTORY_UNAVAILABLE)
    responses = _responses({}, (*_ALWAYS, *refusals))
    responses["200"] = {
        "description": "server-sent events without end; the data of each is one of these objects",
        "content": {
            EVENT_STREAM: {
                "schema": {"type": "string"},
                "x-event-data": {"anyOf": [shapes[announced] for announced in _ANNOUNCED]},
            }
        },
    }
    parameters: list[Document] = [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.about,
            "schema": _parameter_schema(parameter, patterns),
        }
        for parameter in OF_EVENTS
    ]
    last_id = {"type": "string", "pattern": AFTER.kind.schema(patterns)["pattern"]}
    parameters.append({"name": "Last-Event-ID", "in": "header", "schema": last_id})
    summary = "Stream what is told, as it is told."
    return {
        "/api/events": {
            "get": {
                "summary": summary,
                "parameters": parameters,
                "responses": responses,
                "security": [*_KEYS, {"ticket": []}],
            }
        }
    }


def _record_paths() -> Document:
    def path(name: str, schema: Document, media_type: str) -> Document:
        refusals = (Code.RECORD_UNKNOWN, Code.BAD_RANGE, Code.HISTORY_UNAVAILABLE, Code.NOT_READY)
        responses = _responses({}, (*_ALWAYS, *refusals))
        sound = {media_type: {"schema": {"type": "string", "format": "binary"}}}
        responses["200"] = {"description": "the recording", "content": sound}
        responses["206"] = {"description": "a part of it, by Range", "content": sound}
        parameter = {"name": name, "in": "path", "required": True, "schema": schema}
        return {"get": {"parameters": [parameter], "responses": responses}}

    number, text = {"type": "integer", "minimum": 1}, {"type": "string"}
    return {
        "/api/record/{call_id}.wav": path("call_id", number, "audio/wav"),
        "/api/record/{call_id}.mp3": path("call_id", number, "audio/mpeg"),
        "/mp3/{uniqueid}.mp3": path("uniqueid", text, "audio/mpeg"),
    }
