"""Many scenes through one task: each done once, whatever happens to the others or to the run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geotrans.archive.catalogue import check_free, write_catalogue
from geotrans.archive.changes import changed
from geotrans.archive.inputs import select_entries
from geotrans.archive.journal import Journal
from geotrans.archive.location import Place, lost
from geotrans.archive.scene_task import Setup, forget_made
from geotrans.archive.scheduler import Run
from geotrans.archive.status import Status, status_of
from geotrans.errors import ClusterError, UsageError, message_of
from geotrans.execution.cluster import Cluster
from geotrans.execution.connect import reach
from geotrans.parts import As
from geotrans.runtime.memory import parse_bytes
from geotrans.runtime.progress import Progress
from geotrans.scene import parse_mapping
from geotrans.scene.stac import parse_mask
from geotrans.tasks import Bundle, open_bundle


def batch(
    inputs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    task: str | os.PathLike[str] | Bundle,
    *,
    out: str | os.PathLike[str],
    bands: Mapping[str, int | str] | str | None = None,
    as_: As = "rgb",
    seed: int = 0,
    tile: int | None = None,
    halo: int | None = None,
    memory: int | str | None = None,
    workers: int = 1,
    cluster: str | os.PathLike[str] | Cluster | None = None,
    device: str = "auto",
    precision: str = "auto",
    any_gsd: bool = False,
    any_values: bool = False,
    any_style: bool = False,
    norm_stats: str | os.PathLike[str] | None = None,
    creation_options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    max_retries: int = 1,
    join: bool = False,
    stac_api: str | None = None,
    collection: Sequence[str] | None = None,
    bbox: Sequence[float] | None = None,
    datetime: str | None = None,
    mask_asset: str | None = None,
    mask_values: Sequence[int] | str | None = None,
    progress: Progress | None = None,
) -> Status:
    """Translate many scenes, each into a cloud-optimised GeoTIFF in one folder or store.

    Beside each lie its STAC Item and a thumbnail, over all of them a STAC Collection.

    A journal in that folder says what is done: the same call again does the rest, and anew what
    has changed. A scene that fails is reported and stops no other.

    What is uploaded, `out="s3://bucket/maps"`, is worked on in the folder `bucket_maps` of the
    current directory, which keeps the journal.

    Args:
        inputs: Files, folders, globs, URLs, lists of scenes, and STAC: Items, ItemCollections,
            Catalogs, Collections and stac-geoparquet files.
        task: Name of a task, or a bundle.
        out: Folder of the products, made if it is not there, or a URL that theirs begin with.
        bands: As in `translate`, like all that is not named here.
        as_: `"classes"` for one band of class numbers, where the task draws a map.
        seed: Which of the equally plausible pictures.
        tile: Largest core edge of a tile, px.
        halo: Context to read around each tile, px.
        memory: Budget for the whole run, workers included, bytes or `"4GB"`; divided among the
            workers that are there at the start.
        workers: Processes that translate, one scene each.
        cluster: Address or scheduler file of a Dask cluster whose workers translate, one scene
            each, or one that `geotrans.execution.connect.connect` opened. Inputs and folder
            must be theirs, too; each uploads with the keys of its own environment.
        device: `"auto"`, `"cpu"` or `"cuda"`.
        precision: `"auto"`, which the first run settles for all, `"float32"` or `"bfloat16"`.
        any_gsd: Take pixels of a size the task has not seen.
        any_values: Take values the task has not seen.
        any_style: Take a map in a style the task has not seen.
        norm_stats: Where the norms of the network have their statistics from.
        creation_options: Options of GDAL's COG driver.
        overwrite: Do all scenes anew, in the place of whatever products and journal are there.
        retry_failed: Try again what has failed in a run before.
        max_retries: How often a scene is tried again at once, unless that cannot help.
        join: Share the work of a run that is at it already.
        stac_api: URL of a STAC API, whose items are translated beside `inputs`.
        collection: Collections to search there.
        bbox: `xmin, ymin, xmax, ymax` to search in, lon-lat degrees.
        datetime: When items were seen: a moment or `START/END`, ISO 8601.
        mask_asset: Asset of an item that says which pixels to leave out, such as `"scl"`.
        mask_values: Its values that mark them, such as `"3,8,9,10"`.
        progress: How to tell how far it is.

    Returns:
        How far these scenes are; its `failures` say what is not done, and why.

    Raises:
        GeotransError: What concerns all scenes: a bundle, device or folder that cannot be used, a
                folder that another run or another job holds, inputs that are not there.

    Examples:
        >>> import geotrans
        >>> state = geotrans.batch(["sample:suburb"], "aerial2map", out="maps")
        >>> state.counts["done"], state.failures
        (1, ())
        >>> geotrans.batch(["sample:suburb"], "aerial2map", out="maps").n_new
        0
    """
    if workers < 1:
        raise UsageError(f"asked for {workers} workers; give at least 1")
    mask = parse_mask(mask_asset, mask_values)
    bundle, place = open_bundle(task), Place.of(out)
    if isinstance(bands, str):
        bands = parse_mapping(bands, bundle.spec.source)
    n_bytes = None if memory is None else parse_bytes(memory)
    choices = {
        "bands": bands, "as_": as_, "seed": seed, "tile": tile, "halo": halo, "device": device,
        "precision": precision, "any_gsd": any_gsd, "any_values": any_values,
        "any_style": any_style, "norm_stats": norm_stats,
        "creation_options": creation_options or None,
    }  # fmt: skip
    place.check()
    with reach(cluster, workers=workers, is_budgeted=memory is not None) as crew:
        entries = select_entries(
            inputs, outside=place.folder, stac_api=stac_api, collection=collection, bbox=bbox,
            datetime=datetime,
        )  # fmt: skip
        place.make()
        setup = Setup(bundle, choices, target=place.target, mask=mask)
        with _opened(place.folder) as journal:
            rows = journal.rows()
            names = place.names()
            again = changed(entries, rows) | lost(entries, rows, names, bundle.spec.name)
            if retry_failed:
                again |= {e.key for e in entries if e.key in rows and rows[e.key].state == "failed"}
            if overwrite:
                forget_made(place.folder)
            elif not journal.terms():
                check_free(place, bundle.spec.name)
            journal.begin(_terms(setup), entries, again=again, join=join, overwrite=overwrite)
            with journal.alive():
                run = Run(
                    journal, setup, place, entries,
                    names=names, max_retries=max_retries, overwrite=overwrite,
                )  # fmt: skip
                if run.is_unfinished():
                    run.finish(workers, crew, n_bytes, progress)
            with journal.alone():
                write_catalogue(journal, place, bundle)
            journal.end()
            return status_of(journal, {entry.key for entry in entries})


def _terms(setup: Setup) -> dict[str, Any]:
    """What decides the pixels of every product and where it goes, by the words a user knows."""
    left_out = ("tile", "device")  # Neither changes a pixel, or by rounding at most.
    terms = {name.rstrip("_"): v for name, v in setup.choices.items() if name not in left_out}
    norm_stats = terms["norm_stats"]
    terms["norm_stats"] = None if norm_stats is None else os.fspath(norm_stats)
    mask = None if setup.mask is None else [setup.mask.asset, *setup.mask.values]
    target = None if setup.target is None else setup.target.url
    return {
        "target": target, "task": setup.bundle.spec.name, "weights": setup.bundle.sha256,
        "mask": mask, **terms,
    }  # fmt: skip


@contextmanager
def _opened(folder: Path) -> Iterator[Journal]:
    """The journal for one run; says how to go on if that is interrupted."""
    journal = Journal(folder)
    try:
        yield journal
    except (ClusterError, KeyboardInterrupt) as error:
        said, counts = message_of(error) or "interrupted", journal.counts()
        if isinstance(error, KeyboardInterrupt):  # A scene has told of its tiles.
            said = said.partition(";")[0]
        where = f" (their journal is in {folder})" if journal.terms().get("target") else ""
        raise type(error)(
            f"{said}; {counts['done']} of {counts.total()} scenes are done, and the same command "
            f"goes on from there{where}"
        ) from error
    finally:
        journal.close()
