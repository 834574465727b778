"""What tests of the worker on EC2 use."""

from __future__ import annotations

from tests.aws.cloud import cloud, cloud_server

__all__ = ["cloud", "cloud_server"]
