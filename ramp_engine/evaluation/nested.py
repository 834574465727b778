"""Arrays of objects as JSON that executes nothing.

Kept are the types that predictions are made of, so that what is read equals what was written:
lists, tuples, dictionaries, text, numbers, None, numpy's scalars and arrays. JSON's own types
stand for themselves; anything else is an object with one key, its type.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

#: Kinds of numpy types that are taken: numbers, truth values and text.
_KINDS = "biufU"

#: Largest array within an array [bytes].
_MAX_BYTES = 1 << 30


def dumps(array: Any) -> str:
    """Return an array of objects as JSON text.

    Parameters
    ----------
    array : ndarray of object
        Any shape.

    Raises
    ------
    TypeError
        It holds something that is not data.
    """
    items = [_encode(item) for item in array.ravel().tolist()]
    return json.dumps({"shape": list(array.shape), "items": items})


def loads(text: str) -> Any:
    """Return the array that `dumps` has written.

    Raises
    ------
    ValueError, TypeError, KeyError
        The text is something else.
    """
    content = json.loads(text)
    items = content["items"]
    array = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):
        array[position] = _decode(item)
    return array.reshape(_shape(content["shape"]))


def _encode(value: Any) -> Any:
    if value is None or type(value) in (str, bool, int, float):
        return value
    if type(value) is list:
        return [_encode(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [_encode(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return {"scalar": [value.dtype.str, value.item()]}
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    raise TypeError(f"{type(value).__name__} is neither number, text, list, tuple nor array")


def _encode_array(value: Any) -> Any:
    shape = list(value.shape)
    if value.dtype.hasobject:
        return {"array": ["O", shape, [_encode(item) for item in value.ravel().tolist()]]}
    if value.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {value.dtype} is neither numbers nor text")
    return {"array": [value.dtype.str, shape, value.ravel().tolist()]}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_decode(item) for item in content)
    if kind == "dict":
        return {_decode(key): _decode(item) for key, item in content}
    if kind == "scalar":
        return _plain_type(content[0]).type(content[1])
    if kind == "array":
        return _decode_array(*content)
    raise ValueError(f"unknown type {kind!r}")


def _decode_array(dtype: str, shape: list[int], items: list[Any]) -> Any:
    if dtype == "O":
        array = np.empty(len(items), dtype=object)
        for position, item in enumerate(items):
            array[position] = _decode(item)
        return array.reshape(_shape(shape))
    plain = _plain_type(dtype)
    if plain.itemsize * len(items) > _MAX_BYTES:
        raise ValueError("an array that is too large")
    return np.array(items, dtype=plain).reshape(_shape(shape))


def _plain_type(text: str) -> Any:
    dtype = np.dtype(str(text))
    if dtype.kind not in _KINDS:
        raise ValueError(f"the type {text!r} is not taken")
    return dtype


def _shape(values: Any) -> tuple[int, ...]:
    shape = tuple(int(value) for value in values)
    if any(length < 0 for length in shape):
        raise ValueError("a negative length")
    return shape
