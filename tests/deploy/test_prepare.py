"""What `make compose-secrets` writes, and the settings that are read from a folder of files."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gateway.errors import StartupFault
from gateway.money.keys import hash_key
from gateway.settings import load_settings
from ops.compose import prepare

SCRIPT = Path(prepare.__file__)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", str(SCRIPT), str(folder)], capture_output=True, text=True)


def test_the_key_of_the_load_test_opens_the_gateway_that_has_the_pepper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_LEDGER_URL")
    assert run(tmp_path).returncode == 0
    kept = tmp_path / "secrets"
    (key,) = re.findall(r"^GATEWAY_KEY=(.+)$", (kept / "load.env").read_text(), re.M)
    settings = load_settings(secrets_dir=kept)
    (tenant,) = yaml.safe_load((tmp_path / "policies" / "tenants.yaml").read_text())["tenants"]
    assert tenant["keys"][0]["hash"] == hash_key(settings.key_pepper.get_secret_value(), key)
    password = (kept / "postgres_password").read_text()
    assert settings.ledger_url is not None
    assert f":{password}@postgres:5432/" in settings.ledger_url.get_secret_value()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


def test_what_is_there_is_kept_and_halves_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    again = run(tmp_path)
    assert (again.returncode, "nothing written" in again.stdout) == (0, True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()} == before
    (tmp_path / "secrets" / "postgres_password").unlink()
    refused = run(tmp_path)
    assert (refused.returncode, "postgres_password" in refused.stderr) == (2, True)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    said = run(tmp_path)
    for path in (tmp_path / "secrets").iterdir():
        assert path.read_text().strip() not in said.stdout + said.stderr


def test_variables_win_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "GATEWAY_ADMIN_KEY").write_text("from-a-file-of-its-own\n")
    (tmp_path / "GATEWAY_LOG_LEVEL").write_text("debug")
    (tmp_path / "provider_key").write_text("is not a setting")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "warning")
    settings = load_settings()
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "from-a-file-of-its-own"
    assert settings.log_level == "warning"
    assert load_settings(log_level="error").log_level == "error"


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_folder_that_is_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path / name))
    with pytest.raises(StartupFault, match="GATEWAY_SECRETS_DIR"):
        load_settings()


def test_a_value_that_does_not_fit_is_named_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "GATEWAY_ADMIN_KEY").write_text("too-short")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    with pytest.raises(StartupFault, match="GATEWAY_ADMIN_KEY") as fault:
        load_settings()
    assert "too-short" not in str(fault.value)
