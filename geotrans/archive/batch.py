"""Many scenes through one task: each done once, whatever happens to the others or to the run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geotrans.archive.catalogue import check_free, write_catalogue
from geotrans.archive.changes import find_changed
from geotrans.archive.inputs import ItemKeywords, ItemOptions, select_entries
from geotrans.archive.journal import Journal
from geotrans.archive.location import Location, find_missing
from geotrans.archive.scene_task import Setup, discard_finished
from geotrans.archive.scheduler import Scheduler
from geotrans.archive.status import Status, read_progress
from geotrans.errors import ClusterError, message_of
from geotrans.runtime.memory import parse_bytes
from geotrans.runtime.progress import Progress
from geotrans.tasks import Bundle, open_bundle
from geotrans.translation.options import (
    TranslationKeywords,
    split_options,
    take_options,
)


class BatchKeywords(TranslationKeywords, ItemKeywords, total=False):
    """Keywords of `batch`."""


def batch(
    inputs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    task: str | os.PathLike[str] | Bundle,
    *,
    out: str | os.PathLike[str],
    creation_options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    max_retries: int = 1,
    join: bool = False,
    progress: Progress | None = None,
    **options: Unpack[BatchKeywords],
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
        creation_options: Options of GDAL's COG driver.
        overwrite: Do all scenes anew, and replace products and journal that are there.
        retry_failed: Try again what has failed in an earlier run.
        max_retries: How often a scene is tried again at once, unless that cannot help.
        join: Share the work of a run that is at it already.
        progress: How to tell how far it is.
        **options: As in `translate`: fields of `geotrans.translation.options.PixelOptions` (bands,
            as_, seed, halo, precision, norm_stats, nodata, any_gsd, any_values, any_style) and
            `RunOptions` (tile, memory, workers, cluster, device), for all processes together, one
            scene in each; and of `geotrans.archive.inputs.ItemOptions` (stac_api, collection, bbox,
            datetime, mask_asset, mask_values).

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
    rest = dict(options)
    items = take_options(ItemOptions, rest)
    pixels, run = split_options(rest)
    bundle, location = open_bundle(task), Location.parse(out)
    pixels = replace(pixels, bands=pixels.band_mapping(bundle.spec))
    n_bytes = None if run.memory is None else parse_bytes(run.memory)
    mask = items.mask
    location.check()
    with run.open_cluster() as cluster:
        entries = select_entries(inputs, items, outside=location.folder)
        location.make_folder()
        setup = Setup(
            bundle, pixels, run, creation_options or None, target=location.target, mask=mask
        )
        with _open_journal(location.folder) as journal:
            rows = journal.read_rows()
            names = location.list_names()
            stale = find_changed(entries, rows) | find_missing(
                entries, rows, names, bundle.spec.name
            )
            if retry_failed:
                stale |= {e.key for e in entries if e.key in rows and rows[e.key].state == "failed"}
            if overwrite:
                discard_finished(location.folder)
            elif not journal.read_terms():
                check_free(location, bundle.spec.name)
            journal.begin(_make_terms(setup), entries, stale=stale, join=join, overwrite=overwrite)
            with journal.heartbeat():
                scheduler = Scheduler(
                    journal, setup, location, entries,
                    names=names, max_retries=max_retries, overwrite=overwrite,
                )  # fmt: skip
                if scheduler.is_unfinished():
                    scheduler.run(run.workers, cluster, n_bytes, progress)
            with journal.transaction():
                write_catalogue(journal, location, bundle)
            journal.end()
            return read_progress(journal, {entry.key for entry in entries})


def _make_terms(setup: Setup) -> dict[str, Any]:
    """What determines the pixels of every product and where it goes, by names of options."""
    pixels = {name.rstrip("_"): value for name, value in vars(setup.pixels).items()}
    if pixels["norm_stats"] is not None:
        pixels["norm_stats"] = os.fspath(pixels["norm_stats"])
    return {
        "target": None if setup.target is None else setup.target.url,
        "task": setup.bundle.spec.name,
        "weights": setup.bundle.sha256,
        "mask": None if setup.mask is None else [setup.mask.asset, *setup.mask.values],
        "creation_options": setup.creation_options,
        **pixels,
    }


@contextmanager
def _open_journal(folder: Path) -> Iterator[Journal]:
    """Open the journal for one run; if that is interrupted, the error says how to resume."""
    journal = Journal(folder)
    try:
        yield journal
    except (ClusterError, KeyboardInterrupt) as error:
        message, counts = message_of(error) or "interrupted", journal.count_states()
        if isinstance(error, KeyboardInterrupt):  # The rest is about the tiles of a scene.
            message = message.partition(";")[0]
        is_remote = bool(journal.read_terms().get("target"))
        where = f" (their journal is in {folder})" if is_remote else ""
        raise type(error)(
            f"{message}; {counts['done']} of {counts.total()} scenes are done, and the same "
            f"command goes on from there{where}"
        ) from error
    finally:
        journal.close()
