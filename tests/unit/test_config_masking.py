"""Secrets are not shown."""

from __future__ import annotations

import pytest

from ramp_database.masking import is_secret, mask, mask_text


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_passwd", "secret_access_key", "access_key_id", "token", "api_key"],
)
def test_keys_of_secrets_are_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key", ["key_path", "key_name", "security_group", "username", "token_file", "n_workers"]
)
def test_other_keys_are_shown(key: str) -> None:
    assert not is_secret(key)


def test_secrets_are_masked_at_any_depth() -> None:
    config = {
        "worker": {"access_key_id": "A", "token": ["x"], "region_name": "us", "password": None},
        "nodes": [{"token": 1}, "redis://:pw@h/0"],
    }
    assert mask(config) == {
        "worker": {"access_key_id": "***", "token": "***", "region_name": "us", "password": None},
        "nodes": [{"token": "***"}, "redis://:***@h/0"],
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://u:p@ss/w@h/db, gone", "at postgresql://u:***@h/db, gone"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("http://h:8080/x", "http://h:8080/x"),
        ("http://h/x?a=1&token=abc&b=2", "http://h/x?a=1&token=***&b=2"),
    ],
)
def test_passwords_within_urls_are_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown
