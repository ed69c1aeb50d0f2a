"""`gateway egress`: three forms of the same, and where a folder does not compile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli.egress import egress
from gateway.errors import PolicyFault
from gateway.upstreams.dialects.ordered import hosts_of

POLICIES = Path(__file__).resolve().parents[2] / "policies"


def printed(folder: str, *more: str) -> str:
    ended = CliRunner().invoke(egress, [str(POLICIES / folder), *more], catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.stdout


def test_the_table() -> None:
    _, *rows = [line.split() for line in printed("local-first").splitlines()]
    assert rows == [
        ["workers", "10.20.0.0/16", "8000,", "9400", "h100"],
        ["managed", "api.gmi-serving.com", "443", "gmi"],
    ]


def test_values_of_the_chart() -> None:
    assert yaml.safe_load(printed("local-first", "--format", "helm-values")) == {
        "networkPolicy": {
            "workers": [{"cidr": "10.20.0.0/16", "ports": [8000, 9400]}],
            "managed": [{"host": "api.gmi-serving.com", "port": 443, "cidrs": []}],
            "services": [],
        }
    }


def test_json_says_for_whom() -> None:
    told = json.loads(printed("local-first", "--format", "json"))
    assert told["managed"] == [{"host": "api.gmi-serving.com", "port": 443, "cidrs": [], "why": ["gmi"]}]


def test_a_folder_that_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(PolicyFault):
        CliRunner().invoke(egress, [str(tmp_path)], catch_exceptions=False)


def test_hosts_of_dialects() -> None:
    assert hosts_of("openai") == ()
    assert hosts_of("vertex") == ("oauth2.googleapis.com",)
    assert hosts_of("fal") == ("*.fal.media", "fal.media")
