"""Hide secrets wherever a configuration, a URL or a message is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["MASK", "is_secret", "mask", "mask_text"]

#: What stands in place of a secret.
MASK = "***"

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|token|access_?key|api_?key|private_?key|credential",
    re.IGNORECASE,
)
_NOT_SECRET_KEY = re.compile(r"_(path|file|dir|name)$", re.IGNORECASE)

# The password of a URL reaches to its last "@": too much is hidden rather than too little.
_URL_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*:)\S+@", re.IGNORECASE)
_QUERY_SECRET = re.compile(
    r"([?&][^=&\s]*(?:passw(?:or)?d|token|secret|key)[^=&\s]*=)[^&\s]+", re.IGNORECASE
)


def is_secret(key: object) -> bool:
    """Tell whether the value of a key called `key` must not be shown.

    Notes
    -----
    Files that hold a secret may be named: ``key_path`` and ``token_file`` are shown.
    """
    name = str(key)
    return bool(_SECRET_KEY.search(name)) and not _NOT_SECRET_KEY.search(name)


def mask_text(text: str) -> str:
    """Give `text` with the passwords inside its URLs replaced by `MASK`."""
    return _QUERY_SECRET.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1{MASK}@", text))


def mask(value: Any, key: object = "") -> Any:
    """Give a copy of `value` that may be shown.

    Parameters
    ----------
    value : Any
        Mappings and lists are followed; texts lose the passwords within their URLs.
    key : object
        The key under which `value` stands. Under a secret key everything but None is masked.
    """
    if value is not None and is_secret(key):
        return MASK
    if isinstance(value, Mapping):
        return {name: mask(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item) for item in value]
    return mask_text(value) if isinstance(value, str) else value
