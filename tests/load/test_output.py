"""The files that a run leaves."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

import msgspec
import pytest

from loadtests.load.plan import Result
from loadtests.load.progress import Progress
from loadtests.load.story import Story, notes

from .stories import RAMP, result, results, samples, story

pytest.importorskip("matplotlib", reason="the load extra is not installed")

from matplotlib.figure import Figure

from loadtests.load import picture
from loadtests.load.__main__ import main
from loadtests.load.labels import Labels
from loadtests.load.tell import RECORD, REPORT, Run, tell


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, from its IHDR chunk."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize(
    "told",
    [
        [story()],
        [story([])],
        [story([result(0.5, status=0, outcome="", fault="OSError", first=None)])],
        [story([result(t, status=429, outcome="") for t in range(130)])],
        [story(), story([result(r.due, outcome="") for r in results()])],
    ],
    ids=["a run", "nothing sent", "nothing answered", "all shed", "two runs"],
)
def test_a_picture_is_drawn_of_any_run(tmp_path: Path, told: list[Story]) -> None:
    picture.draw(told, tmp_path / "spillover.png")
    width, height = size((tmp_path / "spillover.png").read_bytes())
    assert width >= 1000
    assert height >= 1000


def test_labels_cover_neither_curves_nor_each_other() -> None:
    axis = Figure((8, 3)).subplots()
    xs = [float(x) for x in range(100)]
    curves = [(xs, [1.0] * 100), (xs, [2.0 if 30 < x < 70 else 1.2 for x in xs])]
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 3)
    labels = Labels(axis, curves, 50.0)
    for i, curve in enumerate(curves):
        labels.name(f"the curve number {i}", curve, "black")
    one, other = (text.get_window_extent() for text in axis.texts)
    assert not one.overlaps(other)
    for box in (one, other):
        for line_xs, ys in curves:
            assert not any(box.contains(*axis.transData.transform(point)) for point in zip(line_xs, ys, strict=True))


@pytest.mark.parametrize(
    ("sent", "title"),
    [
        (results(), "; TTFT p95 stayed under 1 s"),
        ([result(r.due, first=r.due + 3, outcome=r.outcome) for r in results()], "; TTFT p95 rose to 3.0 s"),
    ],
)
def test_the_title_is_the_finding(sent: list[Result], title: str) -> None:
    found = story(sent).title
    assert re.fullmatch(r"From 0:\d\d to 1:\d\d the fleet was full: \d\d% was bought for \$0\.096; TTFT.*", found), (
        found
    )
    assert found.endswith(title)


@pytest.mark.parametrize(
    ("sent", "title"),
    [
        (
            [result(float(t)) for t in range(60)],
            "The fleet was never full: nothing bought; TTFT p95 stayed under 0.2 s",
        ),
        (
            [result(float(t), outcome="") for t in range(60)],
            "60 of 60 requests were answered; TTFT p95 stayed under 0.2 s",
        ),
        (
            [result(float(t), status=429, outcome="") for t in range(60)],
            "Nothing was answered: 0 requests failed, 60 were shed",
        ),
    ],
)
def test_titles_of_other_findings(sent: list[Result], title: str) -> None:
    assert story(sent).title == title


def test_the_report_stands_alone(tmp_path: Path) -> None:
    tell([story(), story([result(r.due, outcome="") for r in results()])], tmp_path)
    page = (tmp_path / REPORT).read_text()
    assert "PASS: " in page
    assert "<td>ramp down</td>" in page
    assert "synthetic &lt;b&gt;" in page  # settings are escaped
    assert "first all of A, then all of B" in page
    assert '<tr class="broken"><td>spilled_share_least</td><td>peak</td><td>at least 0.2</td>' in page
    bare = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)
    assert len(bare) < len(page) / 5
    assert not re.search(r"src=|href=|url\(|@import|http", bare)


def test_the_record_holds_verdict_limits_and_all_results(tmp_path: Path) -> None:
    tell([story()], tmp_path)
    back = msgspec.json.decode((tmp_path / RECORD).read_bytes(), type=Run)
    assert back == Run("ramp", "PASS", (story(),))
    assert {promise.measure for promise in back.sides[0].promises} >= {"ttft_p95_s", "shed_share"}


def test_the_verdict_is_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = story(bought=80)
    tell([told], tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(told.verdict)
    assert "CPU: 0.75 cores on average (locust 0.50, b 0.25)" in said
    assert any(line.startswith("load generator: requests started 0 ms late at p50") for line in said)
    assert "the simulated API's own journal: 80 chats received" in notes(told)


def test_requests_without_an_end_are_said() -> None:
    told = story(lost=3)
    assert "3 failed" in told.subtitle
    assert "3 requests had no end when the wait for the last ones was over: they failed" in notes(told)
    assert not [line for line in notes(story()) if "no end" in line]


def test_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    told = story()
    progress = Progress(RAMP.plan)
    for sample in samples()[:12]:
        progress.show(sample, [r for r in told.results if r.ended <= sample.at])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert "TTFT p95" in said[0]
    assert [line.split()[0] for line in said[1:]] == ["0", "5", "10"]
    assert "4.0/s" in said[3]


def test_what_is_missing_is_said_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trace", str(tmp_path / "none.csv")]) == 2
    assert main(["replay"]) == 2
    assert main(["spke"]) == 2
    assert main(["--seconds", "0"]) == 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert main(["--url", f"http://127.0.0.1:{free.getsockname()[1]}"]) == 2
    said = capsys.readouterr().err
    assert "none.csv: No such file" in said
    assert "set TRACE=path" in said
    assert "no scenario `spke`" in said
    assert "a run of 0 seconds" in said
    assert "no gateway answers at http://127.0.0.1:" in said
