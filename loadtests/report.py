"""The HTML report: one file, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from loadtests.story import Story
from loadtests.tally import table

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Spillover: {title}</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; }}
  body {{ max-width: 1040px; margin: 2rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.45rem; line-height: 1.3; }}
  h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
  .verdict {{ font-weight: 600; padding: .6rem .9rem; border-radius: 6px; background: {colour}; }}
  .scroll {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
  th, td {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e3e7eb; white-space: nowrap; }}
  th:first-child, td:first-child {{ text-align: left; }}
  .settings td:last-child {{ text-align: left; white-space: normal; }}
  img {{ width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="verdict">{verdict}</p>
<p>{subtitle}</p>
<img alt="{alt}" src="data:image/png;base64,{picture}">
<h2>Per phase</h2>
<div class="scroll">{phases}</div>
<p>Requests count in the phase in which they were due. <em>Spilled</em> are all answers that did not come from the local
workers. Times to first token count from when a request was due. <em>All bought</em> is what the API would have charged
for every answer, at list price.</p>
<h2>Checks</h2>
<ul>{notes}</ul>
<h2>Settings</h2>
<div class="scroll settings">{settings}</div>
</body>
</html>
"""
COLOURS = {"PASS": "#dff3e4", "FAIL": "#fbe0dd", "VOID": "#fdf0d0"}


def write(story: Story, notes: Sequence[str], picture: Path, path: Path) -> None:
    """The report around a picture that is written already."""
    head, cells = table(story.rows)
    page = PAGE.format(
        title=escape(story.title),
        colour=COLOURS[story.verdict.word],
        verdict=escape(str(story.verdict)),
        subtitle=escape(story.subtitle),
        alt=escape(f"Requests per second, utilisation, queue, time to first token and money over time. {story.title}."),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        phases=_table([_row("th", head), *(_row("td", row) for row in cells)]),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        settings=_table(_row("td", (name, str(value))) for name, value in story.settings.items()),
    )
    path.write_text(page, encoding="utf-8")


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _table(rows: Iterable[str]) -> str:
    return "<table>" + "".join(rows) + "</table>"
