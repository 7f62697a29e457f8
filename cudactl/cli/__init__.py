"""The command line: parse, call a workflow, print. No logic.

`cudactl --help` imports Click and nothing heavy: each command's module is imported only when that
command is called, so its short help stands here, beside its name.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import NoReturn

import click

from cudactl import __version__

# name → (module, attribute, help line); the order is the order of DESIGN.md section 9.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "doctor": ("cudactl.cli.doctor", "doctor", "What is wrong here and what to do."),
    "stack": ("cudactl.cli.stack", "stack", "Write down which stack you want, and lock it."),
    "plan": ("cudactl.cli.plan", "plan", "Show what would change on a host. Changes nothing."),
    "provision": ("cudactl.cli.provision", "provision", "Bring hosts to their lock."),
    "rollout": ("cudactl.cli.rollout", "rollout", "Bring many hosts to their locks, bit by bit."),
    "certify": ("cudactl.cli.certify", "certify", "Prove that a host carries its lock and works."),
    "gate": ("cudactl.cli.gate", "gate", "Is this machine's last certificate still good?"),
    "gpu": ("cudactl.cli.gpu", "gpu", "Choose hardware: what each GPU is, and what it can run."),
    "catalogue": ("cudactl.cli.catalogue", "catalogue", "What is known of the stack's parts."),
    "lab": ("cudactl.cli.lab", "lab", "Disposable hosts to try everything on."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None where there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "CUDACTL",
        "max_content_width": 100,
    },
)
@click.version_option(__version__, prog_name="cudactl")
def cudactl() -> None:
    """Make the NVIDIA stack on a machine right, then prove it."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with one of the codes of `contracts.errors.Exit`."""
    # A command lives for a second and makes few cycles: collecting them often only costs time.
    gc.set_threshold(100_000, 50, 50)
    try:
        # Outside standalone mode Click returns an Exit's code instead of raising it.
        code = cudactl.main(args=argv, prog_name="cudactl", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from cudactl.cli.app import show_error

        sys.exit(show_error(error))
