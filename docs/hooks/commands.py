"""The reference of commands, from what `--help` says."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from mkdocs.structure.files import File, Files

from geotrans.cli.main import COMMANDS, load_command

_HEAD = """# Commands

Results go to stdout, warnings and progress to stderr. An error is one line, and says what was
asked, what was found and what to do; `-v` adds the traceback, `-q` leaves out everything but
results and errors. Every command is also there as `rio geotrans ...`. To let bash, zsh or fish
complete commands, options and names, run `geotrans --install-completion` in it.

| Command | Does |
|---|---|
"""

_TAIL = """
## Exit codes

| Code | Means |
|---|---|
| 0 | done |
| 1 | failed: a file that cannot be read or written, a device that is not there |
| 2 | usage: an option, task, band or configuration that cannot be meant |
| 3 | an archive of which some scenes failed |
| 130 | interrupted; the message says how to go on |
"""


def on_files(files: Files, config: Any) -> None:
    """Make the page."""
    rows = "".join(f"| [`{name}`](#{name}) | {line} |\n" for name, (_, line) in COMMANDS.items())
    page = _HEAD + rows + "".join(_section(name) for name in COMMANDS) + _TAIL
    files.append(File.generated(config, "reference/commands.md", content=page))


def _section(name: str) -> str:
    module = import_module(COMMANDS[name][0])
    command = load_command(name)
    context = command.make_context(f"geotrans {name}", ["--help"], resilient_parsing=True)
    usage = command.get_usage(context).removeprefix("Usage: ")
    examples = "\n".join(module.EXAMPLES)
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = "".join(
        f"| `{_cell(words)}` | {_cell(text)} |\n" for words, text in filter(None, records)
    )
    return (
        f"\n## {name}\n\n{inspect.getdoc(module.command)}\n\n```sh\n{examples}\n```\n\n"
        f"`{' '.join(usage.split())}`\n\n| Option or argument | |\n|---|---|\n{rows}"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
