"""References to secrets, and what is said when one cannot be followed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gateway.policy.secrets import resolve

ENV = {"GOOD": "s3cret", "EMPTY": "", "LINES": "s3cret\r\nX-Evil: 1"}


def test_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  s3cret\n")
    assert resolve("${env:GOOD}", tmp_path, ENV, literal_allowed=False) == "s3cret"
    assert resolve("${file:key}", tmp_path, ENV, literal_allowed=False) == "s3cret"
    assert resolve(f"${{file:{tmp_path}/key}}", Path("/"), ENV, literal_allowed=False) == "s3cret"
    assert resolve("plain", tmp_path, ENV, literal_allowed=True) == "plain"


def test_a_service_account_is_one_line_where_it_may_be_one_and_refused_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"type": "service_account", "private_key": "-- KEY --\n"}, indent=2))
    (tmp_path / "b.json").write_text(json.dumps({"type": "other", "private_key": "-- KEY --\n"}, indent=2))
    found = resolve("${file:a.json}", tmp_path, ENV, literal_allowed=False, account_allowed=True)
    assert found is not None
    assert "\n" not in found
    assert json.loads(found)["private_key"] == "-- KEY --\n"
    for name, allowed in (("a.json", False), ("b.json", True)):
        with pytest.raises(ValueError, match="cannot be sent"):
            resolve(f"${{file:{name}}}", tmp_path, ENV, literal_allowed=False, account_allowed=allowed)


@pytest.mark.parametrize("text", ["${env:GOOD}", "${file:nowhere}"])
def test_not_wanted(tmp_path: Path, text: str) -> None:
    assert resolve(text, tmp_path, None, literal_allowed=False) is None


REFUSED = [
    ("s3cret", False, "write ${env:NAME} or ${file:PATH}"),
    ("Bearer ${env:GOOD}", False, "write ${env:NAME}"),
    ("${env:GOOD}s3cret", True, "write ${env:NAME}"),
    ("", True, "is empty"),
    ("${env:MISSING}", False, "environment variable MISSING is not set"),
    ("${env:EMPTY}", False, "environment variable EMPTY is not set"),
    ("${env:LINES}", False, "environment variable LINES is empty or holds characters that cannot be sent"),
    ("${env:s3cret-x}", False, "needs the name of an environment variable"),
    ("${file:nowhere}", False, "cannot be read"),
    ("${file:.}", False, "cannot be read"),
    ("${file:pipe}", False, "cannot be read"),
    ("${file:binary}", False, "cannot be read"),
    ("${file:empty}", False, "is empty"),
]


@pytest.mark.parametrize(("text", "literal_allowed", "said"), REFUSED, ids=[row[0] or "nothing" for row in REFUSED])
def test_refused(tmp_path: Path, text: str, literal_allowed: bool, said: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").write_bytes(b"\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are looked at below
        resolve(text, tmp_path, ENV, literal_allowed=literal_allowed)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
