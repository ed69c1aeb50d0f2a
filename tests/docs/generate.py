"""Pages that are made of the code: the command line, and the files of the recipes inside their page.

    python -m tests.docs.generate

writes them anew; the suite compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gateway.__main__ import cli

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
RECIPES: Final = ROOT / "policies" / "recipes"
REGION: Final = re.compile(r"(<!-- (\w[\w-]*) -->\n).*?(<!-- /\2 -->\n)", re.S)
SHOWN: Final = ("tenants.yaml", "models.yaml", "routing.yaml", "cases/recipe.yaml")
"""In this order; `models.yaml` alone where it is not the usual one."""
USUAL_MODELS: Final = re.compile(r"models:\n  - name: llama-3\.3-70b\n    served_by:\n(?:      - \{.*\}\n)+")
HEAD: Final = """\
# Command line

Made of the code by `python -m tests.docs.generate`; a test holds it current. `gateway COMMAND --help` says the same.

Results go to standard output, diagnostics to standard error.
Exit code 0: fine; 1: a finding or a failure; 2: wrong usage, or something is missing.

| command | does |
|---|---|
"""


def commands(group: click.Group = cli, above: str = "gateway") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that it is called by, a group before what it holds."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield f"{above} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def default_of(option: click.Option) -> str:
    value = option.to_info_dict()["default"]
    if option.required:
        return "required"
    if option.is_flag or callable(value) or isinstance(value, type(Ellipsis)) or value in (None, (), ""):
        return ""
    return f"`{value}`" if isinstance(value, str | int | float) else ""


def option_row(option: click.Option) -> str:
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    kind = option.type
    if isinstance(kind, click.Choice):
        taken = ", ".join(f"`{choice}`" for choice in kind.choices)
    else:
        taken = "" if option.is_flag else f"`{cell(option.make_metavar(click.Context(cli)))}`"
    return f"| {flags} | {taken} | {default_of(option)} | {cell(option.help or '')} |"


def command_text(words: str, command: click.Command) -> str:
    """Its heading, usage, help and options."""
    context = click.Context(command, info_name=words)
    usage = " ".join([words, *command.collect_usage_pieces(context)])
    paragraphs = [cell(part) for part in (command.help or "").split("\n\n")]
    parts = [f"## {words}", f"```text\n{usage}\n```", *filter(None, paragraphs)]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if options:
        table = ["| option | takes | default | |", "|---|---|---|---|", *map(option_row, options)]
        parts.append("\n".join(table))
    return "\n\n".join(parts)


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cli_page() -> str:
    every = list(commands())
    rows = [
        f"| [{words}](#{words.replace(' ', '-')}) | {cell(command.get_short_help_str(200))} |"
        for words, command in every
    ]
    return HEAD + "\n".join(rows) + "\n\n" + "\n\n".join(command_text(*one) for one in every) + "\n"


def recipe(folder: Path) -> str:
    """Its files as they are, without the line for editors."""
    blocks = []
    for name in SHOWN:
        path = folder / name
        if not path.exists():
            continue
        text = path.read_text().partition("\n")[2]
        if name != "models.yaml" or not USUAL_MODELS.fullmatch(text):
            blocks.append(f"```yaml\n# {name}\n{text}```\n")
    return "\n" + "\n".join(blocks) + "\n"


def recipes_page() -> str:
    """The page as it is, with the files of each recipe between its marks."""
    page = (DOCS / "recipes.md").read_text()
    return REGION.sub(lambda found: found[1] + recipe(RECIPES / found[2]) + found[3], page)


PAGES: Final = {"cli.md": cli_page, "recipes.md": recipes_page}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
