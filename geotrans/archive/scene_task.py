"""One scene of an archive, wherever it is worked on: it is done, or its failure is told."""

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

# Beside a product that waits for its upload, what became of its scene.
_FINISHED = ".made.json"


@dataclass(frozen=True)
class Setup:
    """What all scenes of an archive have in common; small enough to be sent around.

    Attributes:
        bundle: The task and its weights.
        pixels: Options that decide pixels; bands by the task's names.
        run: Tile, device, and memory of each process that translates.
        creation_options: Options of GDAL's COG driver.
        target: What products begin with in a store; None leaves them where they are made. Keys are
            no part of it: each process finds its own.
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
        entry: Which.
        path: Where its product is made. Whatever is there, a worker has left that died.
        tries: How often it is tried with this one.
    """

    entry: Entry
    path: Path
    tries: int = 1


@dataclass(frozen=True)
class SceneResult:
    """What became of a scene.

    Attributes:
        state: Done or failed.
        witness: What tells when its files change.
        kind: Class of the error.
        reason: What the error says; to be spelled.
        is_final: Whether trying again cannot help.
        n_px: Pixels of the product.
        n_bytes: Size of its file.
        facts: What a catalogue needs to know of the product, as JSON.
        notes: What a user should be told about it.
    """

    state: Literal["done", "failed"]
    witness: str | None = None
    kind: str | None = None
    reason: str | None = None
    is_final: bool = False
    n_px: int | None = None
    n_bytes: int | None = None
    facts: str | None = None
    notes: tuple[str, ...] = ()


def translate_scene(setup: Setup, order: SceneTask) -> SceneResult:
    """Translate one scene. Whatever is wrong with it is told and never raised."""
    witness = fingerprint_files(order.entry.hrefs)
    with _collect_warnings() as notes:
        try:
            with order.entry.open(setup.bundle.spec, setup.bands, setup.mask) as scene:
                witness = fingerprint_files(scene.files)
                made = _find_finished(setup, order, witness) or _translate(
                    setup, order, scene, witness
                )
                if setup.target is not None:
                    _upload(order.path, setup.target)
        except Exception as error:
            is_known = isinstance(error, GeotransError)
            reason = message_of(error) if is_known else f"{type(error).__name__}: {error}"
            return SceneResult(
                "failed", witness, type(error).__name__, reason, isinstance(error, UsageError),
                notes=tuple(notes),
            )  # fmt: skip
    return replace(made, notes=tuple(notes))


def _translate(setup: Setup, order: SceneTask, scene: Scene, witness: str) -> SceneResult:
    is_sent = setup.target is not None
    if is_sent:
        order.path.with_suffix(_FINISHED).unlink(missing_ok=True)
    pixels = replace(setup.pixels, bands=order.entry.left_of(setup.bands))
    product = translate(
        scene, setup.bundle, out=order.path, overwrite=True,
        creation_options=setup.creation_options, **join_options(pixels, setup.run),
    )  # fmt: skip
    Parts.beside(order.path).check_claim()
    facts = describe_product(order.path, setup.bundle, order.entry, scene, is_sent=is_sent)
    (height, width), n_bytes = product.shape, order.path.stat().st_size
    made = SceneResult("done", witness, n_px=height * width, n_bytes=n_bytes, facts=facts)
    if is_sent:
        write_whole(order.path.with_suffix(_FINISHED), json.dumps(asdict(made)).encode())
    return made


def _find_finished(setup: Setup, order: SceneTask, witness: str) -> SceneResult | None:
    """What became of a scene whose product waits for its upload, if the scene is as it was."""
    if setup.target is None:
        return None
    try:
        found = json.loads(order.path.with_suffix(_FINISHED).read_text())
        made = SceneResult(**{**found, "notes": ()})
    except (OSError, ValueError, TypeError):
        return None
    is_whole = all(order.path.with_name(name).exists() for name in sidecar_names(order.path.name))
    return made if is_whole and made.witness == witness else None


def _upload(product: Path, target: Target) -> None:
    """Send a product and what belongs to it, the item last, and keep none of it here.

    What went before one that fails stays: it is whole, and replaced when that is tried again.
    """
    check_wanted = Parts.beside(product).check_claim  # A later run may be at the same scene.
    names = [f"{product.name}.aux.xml", *sidecar_names(product.name)]
    files = [file for name in names if (file := product.with_name(name)).exists()]
    for file in files:
        target.child(file.name).send(file, check=check_wanted)
    check_wanted()
    for file in (product.with_suffix(_FINISHED), *files):
        file.unlink(missing_ok=True)


def discard_finished(folder: Path) -> None:
    """Have every scene made anew of which a product waits for its upload."""
    for made in folder.glob(f"*{_FINISHED}"):
        made.unlink(missing_ok=True)


def prepare(setup: Setup) -> str:
    """Make the network ready in this process, before its first scene.

    Returns:
        The precision it runs in.

    Raises:
        GeotransError: What would go wrong with every scene: a damaged bundle, a device that is not
            there, too little memory.
    """
    bundle, pixels, run = setup.bundle, setup.pixels, setup.run
    if bundle.spec.norm == "instance" or pixels.norm_stats is not None:
        # Such a network waits for the statistics of its scene.
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
        setup: What all scenes have in common.
        folder: Where the products are.
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
        """Its memory is planned for one."""
        return 1

    def for_worker(self, n_threads: int, *, claim: Path) -> Self:
        """The same in a worker that may use so many threads; wanted while `claim` is there."""
        import torch

        torch.set_num_threads(self.setup.threads or n_threads)
        return replace(self, claim=claim)

    def check(self) -> None:
        """See that the scenes are here, that products can be sent, and load the network."""
        if self.sample is not None and not Path(self.sample).exists():
            raise SceneError(
                f"does not see {self.sample}; keep scenes where every worker mounts them under the "
                "same path"
            )
        if self.setup.target is not None:
            write_probe(self.setup.target)
        prepare(self.setup)

    def __call__(self, order: SceneTask) -> SceneResult:
        """Translate one scene."""
        with claim_parts(self.claim):
            return translate_scene(self.setup, order)


@contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """What geotrans warns of meanwhile, for whoever asked for the work."""
    notes: list[str] = []
    listener = _Listener(notes)
    before, _log.handlers = _log.handlers, [listener]
    propagate, _log.propagate = _log.propagate, False
    try:
        yield notes
    finally:
        _log.handlers, _log.propagate = before, propagate


class _Listener(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(record.getMessage())
