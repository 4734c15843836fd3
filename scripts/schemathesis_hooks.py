"""Makes generated submissions acceptable where the OpenAPI document cannot say what is acceptable.

A valid request gets the name of an existing template and a real archive, so that the requests after it have a run to
work on. Invalid requests stay as they are.
"""

import io
import zipfile

import schemathesis
from schemathesis import GenerationMode

_BUFFER = io.BytesIO()
with zipfile.ZipFile(_BUFFER, "w") as archive:
    archive.writestr("main.py", "print('hello')\n")
ARCHIVE = _BUFFER.getvalue()


def has_nul(value):
    """Postgres cannot store the character U+0000 in JSON, at any depth."""
    if isinstance(value, dict):
        return any(has_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(has_nul(part) for part in value)
    return isinstance(value, str) and "\0" in value


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    is_valid = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    if case.operation.label != "POST /v1/submissions" or not is_valid or not isinstance(body, dict):
        return
    if "template" in body:
        body["template"] = "trivial"
    if "archive" in body:
        body["archive"] = ARCHIVE
    # A user needs at least one visible character.
    if isinstance(body.get("user"), str) and not any(char.isalnum() for char in body["user"]):
        body["user"] = "ada"
    if has_nul(body.get("metadata")):
        body["metadata"] = {}
