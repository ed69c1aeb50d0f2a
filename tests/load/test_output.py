"""The files a run leaves, and the run itself in small."""

from __future__ import annotations

import re
import socket
import struct
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from gateways import KEY, Lane, serve

from loadtests.lengths import builtin
from loadtests.load.plan import build
from loadtests.load.progress import Progress
from loadtests.load.story import Story, notes

from .stories import result, results, samples, story

pytest.importorskip("matplotlib", reason="the load extra is not installed")

from loadtests import picture, spillover, tally


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, from its IHDR chunk."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize(
    "told",
    [story(), story([]), story([result(0.5, status=0, outcome="", fault="OSError", first=None)])],
    ids=["a run", "nothing sent", "nothing answered"],
)
def test_a_picture_is_drawn_of_any_run(tmp_path: Path, told: Story) -> None:
    picture.draw(told, tmp_path / "spillover.png")
    width, height = size((tmp_path / "spillover.png").read_bytes())
    assert width >= 1000
    assert height >= 1000


def test_the_title_is_the_finding() -> None:
    assert story().title == "At 1.0 times the fleet's capacity 50% spills to the API; TTFT p95 stays at 0.5 s"
    slow = [result(r.due, first=r.due + 3, outcome=r.outcome) for r in results()]
    assert story(slow).title.endswith("TTFT p95 rises to 3.0 s")


def test_the_report_stands_alone(tmp_path: Path) -> None:
    spillover.tell(story(), tmp_path)
    page = (tmp_path / "spillover.html").read_text()
    assert "PASS: " in page
    assert "<td>ramp down</td>" in page
    assert "synthetic &lt;b&gt;" in page  # settings are escaped
    bare = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)
    assert len(bare) < len(page) / 5
    assert not re.search(r"src=|href=|url\(|@import|http", bare)
    back = msgspec.json.decode((tmp_path / "spillover.json").read_bytes(), type=Story)
    assert back == story()


def test_the_verdict_is_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = story(bought=80)
    spillover.tell(told, tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(told.verdict)
    assert "CPU at the peak: 0.75 cores of 1.2 allowed (a 0.50, b 0.25)" in said
    assert "the simulated API's own journal: 80 requests received" in notes(told)


def test_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    told, plan = story(), build(builtin, model="m", seed=1, seconds=135, capacity=4)
    progress = Progress(told.phases, plan)
    for sample in samples()[:12]:
        progress.show(sample, [r for r in told.results if r.ended <= sample.at])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert "TTFT p95" in said[0]
    assert [line.split()[0] for line in said[1:]] == ["0", "5", "10"]
    assert "4.0/s" in said[3]


@pytest.mark.skipif(find_spec("locust") is None, reason="the load extra is not installed")
def test_a_small_run_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four seats and seconds: what is asserted holds at any speed of the machine."""
    monkeypatch.setenv("GATEWAY_KEY", KEY)
    with serve(tmp_path, [Lane("chat", workers=2, seats=2)]) as site:
        asked = ["--url", site.gateway.url, "--policies", str(site.folder), "--model", "chat", "--seconds", "4"]
        told = spillover.run(spillover.parser().parse_args(asked))
        bought = len([r for r in site.fleet.requests("chat-api") if r["path"] == "/v1/chat/completions"])
    assert len(told.results) == told.evidence.planned > 20
    assert not [r.fault for r in told.results if r.fault]
    flagged = [r for r in told.results if r.flagged]
    assert flagged
    assert {(r.outcome, r.reason) for r in flagged} == {("local", "residency")}
    assert bought == sum(r.spilled for r in told.rows) > 0
    assert told.reasons.keys() == {"slo_limit"}
    assert tally.metered(told.samples) == pytest.approx(sum(r.spent for r in told.rows), rel=0.05)


def test_what_is_missing_is_said_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spillover.main(["--trace", str(tmp_path / "none.csv")]) == 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert spillover.main(["--url", f"http://127.0.0.1:{free.getsockname()[1]}"]) == 2
    said = capsys.readouterr().err
    assert "none.csv: No such file" in said
    assert "no gateway answers at http://127.0.0.1:" in said
