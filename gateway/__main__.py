"""The `gateway` command."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

from gateway import __version__
from gateway.errors import PolicyFault, StartupFault

COMMANDS = (
    "agent",
    "audit",
    "budget",
    "check",
    "diff",
    "drain",
    "egress",
    "explain",
    "jobs",
    "keys",
    "models",
    "plan",
    "prices",
    "ledger",
    "register",
    "rollout",
    "serve",
    "test",
    "top",
)
"""One file each in `cli/`, imported when its command runs: `gateway check` must not pay for a web server."""


class Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"gateway.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command `{args[0]}`" + (f"; did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy)
@click.version_option(__version__, prog_name="gateway")
def cli() -> None:
    """A hybrid router for generative models: your GPUs first, bought APIs for the overflow."""


def main() -> None:
    """Results on stdout, diagnostics on stderr; exit 0 ok, 1 finding or failure, 2 usage or something missing."""
    try:
        cli(prog_name="gateway")
    except PolicyFault as fault:
        for line in fault.faults:
            click.echo(line, err=True)
        sys.exit(1)
    except StartupFault as fault:
        click.echo(f"gateway: {fault}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
