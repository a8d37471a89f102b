"""Translation of one scene of an archive, in any process: its result is success or a failure."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

from geotrans.archive.catalogue import describe_product
from geotrans.archive.changes import fingerprint_files
from geotrans.archive.inputs import Bands, Entry
from geotrans.archive.location import sidecar_names, write_probe
from geotrans.errors import GeotransError, SceneError, UsageError, message_of
from geotrans.parts.parts import Parts, claim_parts
from geotrans.product.upload import Target
from geotrans.runtime.files import write_whole
from geotrans.runtime.memory import parse_bytes, resident_bytes
from geotrans.scene import Scene
from geotrans.scene.stac import Mask
from geotrans.tasks import Bundle
from geotrans.translation.budget import largest_tile
from geotrans.translation.options import PixelOptions, RunOptions, join_options
from geotrans.translation.translate import translate
from geotrans.translation.translators import NetworkSettings, prepare_translator

_log = logging.getLogger("geotrans")

# Beside a product that waits for its upload: the result of its scene, as JSON.
_FINISHED, _FINGERPRINT_KEY = ".made.json", "witness"


@dataclass(frozen=True)
class Setup:
    """Settings shared by all scenes of an archive; small enough to be sent to workers.

    Attributes:
        bundle: The task and its weights.
        pixels: Options that determine pixels; bands by the task's names.
        run: Tile, device, and memory of each process that translates.
        creation_options: Options of GDAL's COG driver.
        target: Prefix of the products in a store; None if they are not uploaded. Credentials are no
            part of it: each process finds its own.
        mask: Which pixels of STAC Items to leave out.
        threads: Threads of the network in a worker; None takes as many as the worker has.
    """

    bundle: Bundle
    pixels: PixelOptions = PixelOptions()
    run: RunOptions = RunOptions()
    creation_options: Mapping[str, str] | None = None
    target: Target | None = None
    mask: Mask | None = None
    threads: int | None = None

    @property
    def bands(self) -> Bands:
        """Bands of a scene by the task's names, where they were given."""
        return self.pixels.band_mapping(self.bundle.spec)


@dataclass(frozen=True)
class SceneTask:
    """A scene to be translated.

    Attributes:
        entry: The scene.
        path: File of its product; an existing one is the rest of a dead worker.
        tries: Number of this try.
    """

    entry: Entry
    path: Path
    tries: int = 1


@dataclass(frozen=True)
class SceneResult:
    """Result of a scene.

    Attributes:
        state: Done or failed.
        fingerprint: Fingerprint of its files.
        kind: Class of the error.
        reason: What the error says; to be spelled.
        is_final: Whether another try cannot succeed.
        n_px: Pixels of the product.
        n_bytes: Size of its file.
        facts: Bbox and times of the product for the catalogue, as JSON.
        notes: Warnings for the user.
    """

    state: Literal["done", "failed"]
    fingerprint: str | None = None
    kind: str | None = None
    reason: str | None = None
    is_final: bool = False
    n_px: int | None = None
    n_bytes: int | None = None
    facts: str | None = None
    notes: tuple[str, ...] = ()


def translate_scene(setup: Setup, task: SceneTask) -> SceneResult:
    """Translate one scene. Errors become a result and are never raised."""
    fingerprint = fingerprint_files(task.entry.hrefs)
    with _collect_warnings() as notes:
        try:
            with task.entry.open(setup.bundle.spec, setup.bands, setup.mask) as scene:
                fingerprint = fingerprint_files(scene.files)
                result = _find_finished(setup, task, fingerprint) or _translate(
                    setup, task, scene, fingerprint
                )
                if setup.target is not None:
                    _upload(task.path, setup.target)
        except Exception as error:
            is_known = isinstance(error, GeotransError)
            reason = message_of(error) if is_known else f"{type(error).__name__}: {error}"
            return SceneResult(
                "failed", fingerprint, type(error).__name__, reason, isinstance(error, UsageError),
                notes=tuple(notes),
            )  # fmt: skip
    return replace(result, notes=tuple(notes))


def _translate(setup: Setup, task: SceneTask, scene: Scene, fingerprint: str) -> SceneResult:
    is_sent = setup.target is not None
    if is_sent:
        task.path.with_suffix(_FINISHED).unlink(missing_ok=True)
    pixels = replace(setup.pixels, bands=task.entry.remaining_bands(setup.bands))
    product = translate(
        scene, setup.bundle, out=task.path, overwrite=True,
        creation_options=setup.creation_options, **join_options(pixels, setup.run),
    )  # fmt: skip
    Parts.beside(task.path).check_claim()
    facts = describe_product(task.path, setup.bundle, task.entry, scene, is_sent=is_sent)
    (height, width), n_bytes = product.shape, task.path.stat().st_size
    result = SceneResult("done", fingerprint, n_px=height * width, n_bytes=n_bytes, facts=facts)
    if is_sent:
        write_whole(task.path.with_suffix(_FINISHED), _encode_result(result))
    return result


def _find_finished(setup: Setup, task: SceneTask, fingerprint: str) -> SceneResult | None:
    """Result of a scene whose product waits for its upload, if the scene has not changed."""
    if setup.target is None:
        return None
    try:
        fields = json.loads(task.path.with_suffix(_FINISHED).read_text())
        fields["fingerprint"] = fields.pop(_FINGERPRINT_KEY)
        result = SceneResult(**{**fields, "notes": ()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_whole = all(task.path.with_name(name).exists() for name in sidecar_names(task.path.name))
    return result if is_whole and result.fingerprint == fingerprint else None


def _encode_result(result: SceneResult) -> bytes:
    fields = asdict(result)
    fields[_FINGERPRINT_KEY] = fields.pop("fingerprint")
    return json.dumps(fields).encode()


def _upload(product: Path, target: Target) -> None:
    """Upload a product and its sidecar files, the item last, and remove them from this machine.

    If one fails, those uploaded before stay: they are complete, and replaced by the next try.
    """
    check_claim = Parts.beside(product).check_claim  # A later run may work on the scene.
    names = [f"{product.name}.aux.xml", *sidecar_names(product.name)]
    files = [file for name in names if (file := product.with_name(name)).exists()]
    for file in files:
        target.child(file.name).upload(file, check=check_claim)
    check_claim()
    for file in (product.with_suffix(_FINISHED), *files):
        file.unlink(missing_ok=True)


def discard_finished(folder: Path) -> None:
    """Remove the results of products that wait for their upload, so that they are made again."""
    for path in folder.glob(f"*{_FINISHED}"):
        path.unlink(missing_ok=True)


def prepare(setup: Setup) -> str:
    """Load the network in this process, before its first scene.

    Returns:
        The precision it runs in.

    Raises:
        GeotransError: If no scene could be translated: a damaged bundle, a device that is not
            there, too little memory.
    """
    bundle, pixels, run = setup.bundle, setup.pixels, setup.run
    if bundle.spec.norm == "instance" or pixels.norm_stats is not None:
        # Such a network is loaded with the statistics of its scene.
        return pixels.precision
    settings = NetworkSettings(bundle, run.device, pixels.precision, pixels.seed, pixels.as_)
    translator, base = prepare_translator(settings, base=resident_bytes())
    if run.memory is not None:
        dtype, n_bytes = bundle.spec.source[0].dtype, parse_bytes(run.memory)
        largest_tile(n_bytes, translator, base=base, dtype=dtype, workers=1, halo=pixels.halo)
    return translator.precision


@dataclass(frozen=True)
class SceneWork:
    """Scenes as the `Work` of a cluster's workers, one at a time in each.

    Attributes:
        setup: Settings of all scenes.
        folder: Folder of the products.
        sample: A file to be translated.
        claim: File whose absence says that nobody wants more products: a worker whose run has died
            must not write into a later one.
    """

    setup: Setup
    folder: Path
    sample: str | None = None
    claim: Path | None = None

    @property
    def name(self) -> str:
        """What a dashboard shows."""
        return self.setup.bundle.spec.name

    @property
    def concurrency(self) -> int:
        """One: memory is planned for a single scene."""
        return 1

    def for_worker(self, n_threads: int, *, claim: Path) -> Self:
        """A copy for a worker of so many threads; its results are wanted while `claim` exists."""
        import torch

        torch.set_num_threads(self.setup.threads or n_threads)
        return replace(self, claim=claim)

    def check(self) -> None:
        """Check that scenes are visible and products can be uploaded, and load the network."""
        if self.sample is not None and not Path(self.sample).exists():
            raise SceneError(
                f"does not see {self.sample}; keep scenes where every worker mounts them under the "
                "same path"
            )
        if self.setup.target is not None:
            write_probe(self.setup.target)
        prepare(self.setup)

    def __call__(self, task: SceneTask) -> SceneResult:
        """Translate one scene."""
        with claim_parts(self.claim):
            return translate_scene(self.setup, task)


@contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """Collect the warnings of geotrans meanwhile, for the process that began the run."""
    notes: list[str] = []
    listener = _Listener(notes)
    handlers, _log.handlers = _log.handlers, [listener]
    propagate, _log.propagate = _log.propagate, False
    try:
        yield notes
    finally:
        _log.handlers, _log.propagate = handlers, propagate


class _Listener(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(record.getMessage())
