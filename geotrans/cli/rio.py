"""`rio geotrans`: the same commands, from the command line of rasterio.

Rasterio imports this with every `rio` command, so that nothing else is imported here.
"""

from __future__ import annotations

import click


@click.command(
    "geotrans",
    short_help="Translate rasters between visual domains.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def geotrans(context: click.Context, words: tuple[str, ...]) -> None:
    """Hand every word after `rio geotrans` to geotrans, in the GDAL environment rio has set up."""
    from geotrans.cli.main import run

    # typer may bring its own click, so that its commands are no members of rio's group.
    with context.obj["env"]:
        code = run(words, name="rio geotrans")
    context.exit(code)
