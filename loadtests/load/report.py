"""The HTML report: one file, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from loadtests.load.slo import Promise
from loadtests.load.story import Story, notes
from loadtests.load.tally import Row, table

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{scenario}: {title}</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; }}
  body {{ max-width: {width}px; margin: 2rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.45rem; line-height: 1.3; }}
  h2 {{ font-size: 1.15rem; margin-top: 2.2rem; }}
  h3 {{ font-size: 1rem; margin-top: 1.6rem; }}
  .verdict {{ font-weight: 600; padding: .6rem .9rem; border-radius: 6px; }}
  .PASS {{ background: #dff3e4; }} .FAIL {{ background: #fbe0dd; }} .VOID {{ background: #fdf0d0; }}
  .scroll {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
  th, td {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e3e7eb; white-space: nowrap; }}
  th:first-child, td:first-child {{ text-align: left; }}
  .settings td:last-child {{ text-align: left; white-space: normal; }}
  .broken td {{ background: #fbe0dd; }}
  img {{ width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
{verdicts}
<img alt="{alt}" src="data:image/png;base64,{picture}">
{compared}
{sides}
</body>
</html>
"""
SIDE = """
<h2>{name}</h2>
<h3>What was promised</h3>
<div class="scroll">{promises}</div>
{tables}
<p>Requests count in the phase in which they were due, and all times count from then. <em>Spilled</em> are all answers
that did not come from the local workers. <em>All bought</em> is what the API would have charged for every chat.</p>
<h3>Checks</h3>
<ul>{notes}</ul>
<h3>Settings</h3>
<div class="scroll settings">{settings}</div>
"""
COMPARED = """
<h2>A and B</h2>
<p>The same requests, from one seed, at the same moments after each one's start: first all of A, then all of B, so that
neither takes CPU time from the other.</p>
<div class="scroll">{table}</div>
"""
WIDTH, WIDE = 1040, 1560
TOLD, UNTOLD = {"local", "spilled", "spilled share", "p95 local", "p95 spilled", "spent"}, "not told"
"""Columns that only a gateway can fill that says where its answers were made."""


def sides(stories: Sequence[Story]) -> list[str]:
    """What each is called; one alone needs no name."""
    if len(stories) == 1:
        return [""]
    return [f"{letter}: {story.settings['target']}" for letter, story in zip("AB", stories, strict=True)]


def tables(story: Story) -> dict[str, Sequence[Row]]:
    """What the rows are -> the rows: the phases with the whole run, and the kinds where there are several."""
    found: dict[str, Sequence[Row]] = {"phase": [*story.rows, story.whole]}
    return found | ({"kind": story.kinds} if len(story.kinds) > 1 else {})


def write(stories: Sequence[Story], picture: Path, path: Path) -> None:
    """The report around a picture that is written already."""
    first, names = stories[0], sides(stories)
    page = PAGE.format(
        scenario=escape(first.scenario),
        title=escape(first.title if len(stories) == 1 else f"{first.scenario}: A and B under the same load"),
        about=escape(first.about),
        width=WIDTH if len(stories) == 1 else WIDE,
        verdicts="".join(map(_verdict, names, stories)),
        alt=escape(f"Requests per second, queue, GPU, time to first token and money over time. {first.title}."),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        compared=COMPARED.format(table=_compared(stories)) if len(stories) > 1 else "",
        sides="".join(map(_side, names, stories)),
    )
    path.write_text(page, encoding="utf-8")


def _verdict(name: str, story: Story) -> str:
    said = f"{name}. {story.title}. {story.verdict}" if name else str(story.verdict)
    return f'<p class="verdict {story.verdict.word}">{escape(said)}</p>'


def _side(name: str, story: Story) -> str:
    shown = [
        f"<h3>By {what}</h3><div class='scroll'>{_rows(*table(what, rows))}</div>"
        for what, rows in tables(story).items()
    ]
    return SIDE.format(
        name=escape(name or "Figures"),
        promises=_promises(story.promises),
        tables="".join(shown),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes(story)),
        settings=_table(_row("td", (name, str(value))) for name, value in story.settings.items()),
    )


def _promises(promises: Sequence[Promise]) -> str:
    head = _row("th", ("measure", "where", "limit", "found", "holds"))
    return _table([head, *map(_promise, promises)])


def _promise(promise: Promise) -> str:
    bound = "at least" if promise.least else "at most"
    found = "not measured" if promise.found is None else f"{promise.found:.3g}"
    cells = (promise.measure, promise.where, f"{bound} {promise.limit:g}", found, "yes" if promise.holds else "no")
    return _row("td", cells, "" if promise.holds else "broken")


def _compared(stories: Sequence[Story]) -> str:
    """The whole runs beside each other: one line for each measure."""
    head, cells = table("measure", [story.whole for story in stories])
    for story, line in zip(stories, cells, strict=True):
        line[:] = [UNTOLD if name in TOLD and not story.tells else cell for name, cell in zip(head, line, strict=True)]
    lines = [_row("td", (what, *values)) for what, *values in zip(head[2:], *(row[2:] for row in cells), strict=True)]
    lines.append(_row("td", ("verdict", *(story.verdict.word for story in stories))))
    return _table([_row("th", ("", *sides(stories))), *lines])


def _rows(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return _table([_row("th", head), *(_row("td", row) for row in cells)])


def _row(tag: str, cells: Iterable[str], kind: str = "") -> str:
    inner = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f'<tr class="{kind}">{inner}</tr>' if kind else f"<tr>{inner}</tr>"


def _table(rows: Iterable[str]) -> str:
    return "<table>" + "".join(rows) + "</table>"
