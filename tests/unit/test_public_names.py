"""The package's public names, and what importing them loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gateway


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_client_imports_nothing_of_the_server() -> None:
    for statement in ("import gateway.client", "from gateway import GatewayClient"):
        loaded = loaded_by(statement)
        assert "gateway.client" in loaded
        assert not loaded & {"gateway.app", "gateway.settings", "pydantic", "psycopg2", "aiopg"}


def test_the_s3_client_is_imported_at_the_first_check() -> None:
    loaded = loaded_by("import gateway.cli.commands.serve")
    assert "gateway.app" in loaded
    assert not loaded & {"aiobotocore", "botocore"}


def test_every_public_name_exists() -> None:
    errors = ["GatewayClientError", "GatewayUnreachable"]
    assert gateway.__all__ == ["GatewayClient", *errors, "Settings", "SigningKey", "create_app"]
    for name in gateway.__all__:
        assert getattr(gateway, name).__name__ == name
        assert name in dir(gateway)


def test_unknown_names_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = gateway.nonsense
