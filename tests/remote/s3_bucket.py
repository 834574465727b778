"""An S3 of a test's own on this machine, with a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def s3_bucket() -> Iterator[str]:
    """Give the URL of a bucket; meanwhile the environment says where its S3 is."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            name = f"bundles-{port}"  # all servers of a process have the same buckets
            boto3.client("s3").create_bucket(Bucket=name)
            yield f"s3://{name}"
    finally:
        server.stop()


def objects_in(bucket: str) -> list[dict[str, Any]]:
    """List what is in a bucket, as S3 tells it."""
    name = bucket.removeprefix("s3://")
    found = boto3.client("s3").list_objects_v2(Bucket=name)
    return [dict(each) for each in found.get("Contents", ())]
