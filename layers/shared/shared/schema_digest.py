"""A digest of a schema's JSON format, which changes with any change to the schema's JSON.

It covers everything that determines how pydantic serializes: names, order and types of fields,
nested models, aliases, and the code of serializers. It is the same in every process, and is derived
from the core schema, which the model has already.
"""

from collections.abc import Iterator
from hashlib import blake2s
from types import FunctionType, MethodType
from typing import Any

from pydantic import BaseModel

DIGEST_BYTES = 8
IGNORED = ("metadata", "title")
"""Keys of a core schema that do not affect the JSON."""
REFERENCES = ("ref", "schema_ref")
PLAIN = (str, bytes, int, float, bool, type(None))


def schema_digest(schema: type[BaseModel]) -> str:
    """Return the digest, in hexadecimal digits."""
    text = "\n".join(_parts(schema.__pydantic_core_schema__))
    return blake2s(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _parts(part: Any) -> Iterator[str]:
    """Yield texts that are equal in every process, and so contain no memory address."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "fields" and isinstance(value, dict):
                yield from _parts(list(value.items()))  # a field may have any name
            elif name not in IGNORED:
                yield str(name)
                yield from _parts(value.rpartition(":")[0] if name in REFERENCES else value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _parts(value)
    elif isinstance(part, MethodType):
        yield from _parts(part.__func__)
    elif isinstance(part, FunctionType):
        yield f"{part.__qualname__} {part.__code__.co_code.hex()} {_constants(part)}"
    elif isinstance(part, PLAIN):
        yield repr(part)
    else:
        yield getattr(part, "__qualname__", type(part).__qualname__)


def _constants(function: FunctionType) -> str:
    return repr([one for one in function.__code__.co_consts if isinstance(one, PLAIN)])
