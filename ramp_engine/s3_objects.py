"""Objects of S3 by their URLs, through boto3, which finds credentials where AWS's tools do."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ramp_engine.errors import WorkerSetupError

__all__ = ["SCHEMES", "open_object", "put_object", "size_of_object"]

#: How URLs of objects begin.
SCHEMES = ("s3://", "s3a://")


def size_of_object(url: str) -> int | None:
    """Give the size of an object in bytes; None when there is none.

    Raises
    ------
    WorkerSetupError
        boto3 is not installed; so for the others here, each of which passes on what boto3 raises.
    """
    client = _client()
    try:
        return int(client.head_object(**_place(url))["ContentLength"])
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


def put_object(path: Path, url: str) -> None:
    """Make a file an object, which appears as a whole."""
    place = _place(url)
    _client().upload_file(str(path), place["Bucket"], place["Key"])


@contextlib.contextmanager
def open_object(url: str) -> Iterator[IO[bytes]]:
    """Open an object for reading, once from its beginning to its end."""
    body: Any = _client().get_object(**_place(url))["Body"]
    with contextlib.closing(body):
        yield body


def _place(url: str) -> dict[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    return {"Bucket": bucket, "Key": key}


def _client() -> Any:
    """Make a client, of a session of its own: the default one is not for threads."""
    try:
        boto3: Any = importlib.import_module("boto3")
    except ImportError as error:
        reason = "a bundle_store on S3 needs boto3, which is not installed"
        raise WorkerSetupError(reason, "pip install 'ramp-engine[s3]'") from error
    return boto3.session.Session().client("s3")
