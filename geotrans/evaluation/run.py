"""`evaluate`: scores of a task, or of finished products, on held-out places, with baselines."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geotrans import __version__
from geotrans.errors import SamplingError, TaskError, UsageError, message_of, option
from geotrans.evaluation.baselines import make_baselines
from geotrans.evaluation.cycle import InverseTask
from geotrans.evaluation.places import Array, Places
from geotrans.evaluation.products import Products, read_products, translate_places
from geotrans.evaluation.report import PathText, check_folder, write_evaluation
from geotrans.evaluation.result import Evaluation
from geotrans.evaluation.scores import Groups, MetricResult, Scorer
from geotrans.runtime.config import read_sections, validate_section
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.sampling.cache import PatchCache
from geotrans.sampling.config import DataConfig, load_data_config
from geotrans.sampling.tiling import ensure_cache
from geotrans.tasks import Bundle, TaskSpec, open_bundle

log = logging.getLogger(__name__)

TRUTH = "truth"


def evaluate(
    what: PathText,
    *,
    data: PathText | None = None,
    split: str = "val",
    group: str | None = None,
    inverse: PathText | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    out: PathText | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a task, or products that files hold, on held-out places.

    Baselines without a network, fitted on the split `train`, are scored as well. Each place is
    translated as a separate scene, in tiles of 128 px.

    Args:
        what: Task, bundle file, or folder or glob of products.
        data: Configuration whose section `data` names the places, or a patch cache; the
            configuration in the bundle unless given.
        split: Split of it, which must hold pairs.
        group: Group of the places, as a year, or `"all"`; that of the training's scores unless
            given.
        inverse: Task or bundle of the way back, for the cycle error; the bundle's own unless given.
        seed: Which of the equally plausible pictures.
        device: `"auto"`, `"cpu"` or `"cuda"`.
        precision: `"auto"`, `"float32"` or `"bfloat16"`.
        out: Folder to write page, JSON, GeoPackage and GeoParquet to; nothing is written without.
        overwrite: Whether files of an evaluation before may be replaced there.
        progress: How to report progress.

    Raises:
        UsageError: If the arguments do not fit each other.
        SamplingError: If there is no place, or no product of one.
        BandError: If bands do not fit.
        DomainError: If classes or styles do not fit.
        OutputError: If `out` cannot be written.
    """
    started = time.monotonic()
    progress = progress or show_nothing
    if out is not None:
        check_folder(out, overwrite=overwrite)
    bundle = _open_task(what)
    if bundle is None and inverse is not None:
        raise UsageError("an inverse goes with a task, whose source it leads back to")
    cache, data_name, training = _open_data(bundle, data)
    places, train = _load_places(cache, data_name, split=split, group=group, training=training)
    name, spec = (str(what), None) if bundle is None else (bundle.spec.name, bundle.spec)
    run_options: dict[str, Any] = {"device": device, "precision": precision}
    with tempfile.TemporaryDirectory(prefix="geotrans-") as folder:
        inverse_task = None if bundle is None else InverseTask.open(bundle, inverse, Path(folder))
        if bundle is None:
            places, products = read_products(what, places)
        else:
            places = places.for_task(bundle.spec)
            train = None if train is None else train.for_task(bundle.spec)
            with progress("translating", len(places)) as advance:
                products = translate_places(
                    bundle, places, seed=seed, advance=advance, **run_options
                )
        scorer = Scorer(
            places, value_range=value_range(spec, places), groups=score_groups(spec, training),
            device=torch_device(device),
        )  # fmt: skip
        source = places.manifest.source.bands if spec is None else [b.name for b in spec.source]
        pictures = make_baselines(places, train, source=source)
        with progress("scoring", 2 + len(pictures)) as advance:
            scores, other_scores = _score_all(scorer, products, pictures, advance)
            if inverse_task is not None:
                scores |= inverse_task.score(products.values, places, **run_options)
                other_scores[TRUTH] |= inverse_task.score(places.target, places, **run_options)
            advance(1)
    evaluation = Evaluation(
        name=name,
        title="" if spec is None else spec.title,
        scores=scores,
        beside={
            other: scores_of_picture
            for other, scores_of_picture in other_scores.items()
            if scores_of_picture
        },
        places=places,
        products=products.values,
        facts={
            "geotrans": __version__,
            "bundle_sha256": None if bundle is None else bundle.sha256,
            "data": data_name,
            "split": split,
            "groups": sorted({record.group for record in places.records} - {""}),
            "n_pairs": len(places),
            "n_places": len(set(places.names)),
            "seed": None if bundle is None else seed,
            "precision": None if bundle is None else precision,
            "interval": "95 %, bootstrap over places, 2000 resamples, seed 0",
            "baselines_learned_on": _describe_training(train),
            "seconds": round(time.monotonic() - started, 1),
        },
    )
    if out is not None:
        write_evaluation(evaluation, out, overwrite=overwrite)
    return evaluation


def _score_all(
    scorer: Scorer,
    products: Products,
    pictures: Mapping[str, Array],
    advance: Callable[[int], None],
) -> tuple[dict[str, MetricResult], dict[str, dict[str, MetricResult]]]:
    """Scores of products, and the same of baselines and, as far as it has any, of the truth."""
    scores = scorer.score(products)
    advance(1)
    other_scores = {}
    for other, values in pictures.items():
        other_scores[other] = scorer.score(Products(values, products.edges))
        advance(1)
    truth = Products(scorer.places.target, products.edges)
    return scores, {
        **other_scores,
        TRUTH: {score.name: score for score in scorer.score_seams(truth)},
    }


def _open_task(what: PathText) -> Bundle | None:
    """The bundle; None if `what` is a folder or a glob of products."""
    text = str(what)
    if Path(text).is_dir() or any(character in text for character in "*?["):
        return None
    try:
        return open_bundle(what)
    except TaskError as error:
        raise TaskError(f"{message_of(error)}; nor is it a folder or a glob of products") from error


def _open_data(
    bundle: Bundle | None, data: PathText | None
) -> tuple[PatchCache, str, Mapping[str, Any]]:
    """The patches, where they are from, and the configuration around them."""
    training: Mapping[str, Any] = {} if bundle is None else bundle.spec.training
    if data is not None:
        if Path(data).is_dir():
            return PatchCache.open(data), str(data), training
        config = load_data_config(Path(data))
        return ensure_cache(config), str(data), {**training, **read_sections(Path(data))}
    if not training.get("data"):
        subject = "products say" if bundle is None else f"the bundle '{bundle.spec.name}' says"
        raise UsageError(
            f"{subject} nothing of places to evaluate on; give a configuration or a patch cache "
            f"with {option('data')}"
        )
    # Bundles store every key, including None for those of other kinds of data.
    plain = {key: value for key, value in training["data"].items() if value is not None}
    where = f"the configuration in the bundle '{bundle.spec.name if bundle else ''}'"
    return (
        ensure_cache(validate_section(DataConfig, plain, where=f"{where}: data")),
        where,
        training,
    )


def _load_places(
    cache: PatchCache,
    data_name: str,
    *,
    split: str,
    group: str | None,
    training: Mapping[str, Any],
) -> tuple[Places, Places | None]:
    """Held-out places, and those to learn baselines from, if there are any."""
    if split in cache.manifest.targets:
        raise SamplingError(
            f"split '{split}' of {data_name} is unpaired, so it holds no truth to compare with; "
            "evaluate on a split of pairs"
        )
    default_group = (training.get("training") or {}).get("val_group")

    def choose_group(name: str) -> str | None:
        groups = {record.group for record in cache.manifest.splits.get(name, ())}
        if group is None:
            return str(default_group) if str(default_group) in groups else None
        return None if group == "all" or (name != split and group not in groups) else group

    held_out = Places.load(cache, split, group=choose_group(split))
    has_train = "train" in cache.splits and split != "train"
    return held_out, Places.load(cache, "train", group=choose_group("train")) if has_train else None


def value_range(spec: TaskSpec | None, places: Places) -> tuple[float, float]:
    """Least and greatest value that a band of the truth may have."""
    if places.target.dtype == np.uint8:
        return 0.0, 255.0
    limits = spec.target[0].value_range if spec else places.manifest.target.value_range
    if limits is None:
        values = np.moveaxis(places.target, 1, -1)[places.valid]
        limits = float(values.min()), max(float(values.max()), float(values.min()) + 1e-6)
    return limits


def score_groups(spec: TaskSpec | None, training: Mapping[str, Any]) -> Groups:
    """Classes that a training scored as one."""
    sections = training if spec is None else spec.training
    groups: Groups = (sections.get("task") or {}).get("iou_groups") or {}
    return groups


def _describe_training(train: Places | None) -> str:
    if train is None:
        return "the held-out places themselves; there is no split 'train'"
    return f"{len(train)} {'pairs' if len(train.source) else 'targets'} of the split 'train'"


def torch_device(device: str) -> str:
    """A device by the name torch has for it."""
    from geotrans.inference import pick_device

    return str(pick_device(device))
