"""The `geotrans` command: a table of commands, each imported when it is run, and one way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from geotrans.cli import console
from geotrans.cli.options import spell_flag
from geotrans.errors import EXIT_DONE, UsageError, spelling, suggest

# name: (module whose function `command` is the command, and whose `EXAMPLES` end its help;
# line in `geotrans --help`).
COMMANDS: dict[str, tuple[str, str]] = {
    "translate": (
        "geotrans.cli.translate",
        "Translate a scene into a cloud-optimised GeoTIFF.",
    ),
    "batch": ("geotrans.cli.batch", "Translate many scenes, and go on where a run stopped."),
    "tasks": ("geotrans.cli.tasks", "List the tasks whose weights ship with geotrans."),
    "samples": ("geotrans.cli.samples", "List the samples that ship with geotrans, or copy them."),
    "inspect": ("geotrans.cli.inspect", "Say what a bundle or a product is."),
    "render": ("geotrans.cli.render", "Draw vectors as a map raster in a task's style."),
    "label": ("geotrans.cli.label", "Sort the pixels of a photograph into classes by a recipe."),
    "mosaic": ("geotrans.cli.mosaic", "Join rasters into a cloud-optimised GeoTIFF."),
    "tile": ("geotrans.cli.tile", "Cut a scene into tiles, or pairs into a patch cache."),
    "train": ("geotrans.cli.train", "Train a task from a configuration and export its bundle."),
    "evaluate": ("geotrans.cli.evaluate", "Score a task or products on held-out places."),
    "report": ("geotrans.cli.report", "Write the page of a training run, finished or not."),
    "import-weights": (
        "geotrans.cli.import_weights",
        "Make a bundle of published CycleGAN or pix2pix weights.",
    ),
    "export": ("geotrans.cli.export", "Write a bundle as an ONNX file, checked against torch."),
}


class OneTask(TyperCommand):
    """A command that refuses a second task, where the last one would win in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give every parameter its value."""
        _, _, parameters = self.make_parser(ctx).parse_args(list(args))
        if sum(param.name == "task" for param in parameters) > 1:
            raise UsageError("--task was given twice; a run has one: run again for the other")
        return super().parse_args(ctx, args)


def load_command(name: str) -> Any:
    """The command behind a name, with `-v` and `-q` added."""
    import importlib

    module = importlib.import_module(COMMANDS[name][0])
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=OneTask, epilog=_format_examples(getattr(module, "EXAMPLES", ())))(
        module.command
    )
    command = typer.main.get_command(app)
    command.params.extend(_make_entry(name, _common_options).params)
    return command


def _format_examples(examples: Sequence[str]) -> str:
    """Command lines as the end of a help text."""
    # The backspace keeps typer from filling the lines.
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in examples)])


def _make_entry(name: str, function: Any) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, help=COMMANDS[name][1])(function)
    return typer.main.get_command(app)


def _show_version(is_given: bool) -> None:
    if is_given:
        from geotrans import __version__

        typer.echo(f"geotrans {__version__}")
        raise typer.Exit


Verbose = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", callback=console.set_verbose, expose_value=False,
        help="Say more, and show tracebacks.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", callback=console.set_quiet, expose_value=False,
        help="Say nothing but errors and results.",
    ),
]  # fmt: skip


def _common_options(verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Options every command has."""


class LazyGroup(TyperGroup):
    """Lists commands from the table, and imports the one that is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """An entry with name and help, enough for a list; None if there is no such command."""
        return _make_entry(cmd_name, _common_options) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, and its arguments."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command '{args[0]}'{suggest(args[0], COMMANDS)}; see geotrans --help")
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


# Plain help: rich's takes longer to import than all the rest.
app = typer.Typer(cls=LazyGroup, rich_markup_mode=None)


@app.callback()
def geotrans(
    verbose: Verbose = False,
    quiet: Quiet = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Translate georeferenced rasters between visual domains with GANs."""


def run(args: Sequence[str], *, name: str = "geotrans") -> int:
    """Run one command line.

    Args:
        args: Words after `geotrans`.
        name: What the program is called in help texts.

    Returns:
        The exit code; errors are reported on stderr in one line.
    """
    console.start()
    group = typer.main.get_command(app)
    with spelling(spell_flag):
        try:
            with group.make_context(name, list(args) or ["--help"]) as context:
                group.invoke(context)
        except typer.Exit as exit_request:
            return exit_request.exit_code
        except (Exception, KeyboardInterrupt) as error:
            return console.report(error)
    return EXIT_DONE
