"""What the demo prints when its policy folder is edited."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from gateway.telemetry.logs import JsonLines
from loadtests.policy_news import IN_FORCE, REFUSED, SOUND, PolicyNews
from loadtests.stack import ROOT


def logged(event: str, **fields: str) -> str:
    """As the gateway writes it."""
    return JsonLines().format(logging.makeLogRecord({"msg": event, "fields": fields})) + "\n"


def test_only_what_is_new_and_only_of_the_policy(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text(logged(IN_FORCE, version="old"))
    news = PolicyNews(log, "policies/demo")
    half = logged(IN_FORCE, version="c", **{"from": "promoted"})
    with log.open("a") as file:
        file.write("no json\n" + logged("other") + logged(IN_FORCE, version="b", **{"from": "folder"}) + half[:20])
    assert list(news.lines()) == ["policies/demo: version b is in force"]
    with log.open("a") as file:
        file.write(half[20:] + logged(REFUSED, fault="routing.yaml:3:1: x"))
    assert list(news.lines()) == [
        "policies/demo: version c is in force, promoted",
        "policies/demo: refused, the last good one stays: routing.yaml:3:1: x",
    ]
    with log.open("a") as file:
        file.write(logged(SOUND, version="c"))
    assert list(news.lines()) == ["policies/demo: the folder on disk is the policy in force again, version c"]
    assert list(news.lines()) == []


def test_the_gateway_logs_these_words() -> None:
    text = (ROOT / "gateway" / "watching.py").read_text()
    assert f'"{IN_FORCE}"' in text
    assert f'"{REFUSED}"' in text
    assert f'"{SOUND}"' in text


def test_help_starts_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.demo", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, "usage: make run" in done.stdout) == (0, True)
    assert "curl" not in done.stdout
