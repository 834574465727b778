"""The fake worker holds the contract of a worker."""

from __future__ import annotations

from tests.conformance.fakes import FakeConformance


class TestFakeWorker(FakeConformance):
    pass
