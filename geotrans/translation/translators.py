"""This process's translators: loaded once, reused for scene after scene, released together."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from geotrans.errors import BundleError
from geotrans.parts.layout import As
from geotrans.runtime.caches import clears_cache
from geotrans.tasks import Bundle, NormStatistics
from geotrans.tasks.registry import shipped_bundles

if TYPE_CHECKING:
    from geotrans.inference import Translator


@dataclass(frozen=True)
class NetworkSettings:
    """A network and how it runs: what makes one translator another.

    Attributes:
        bundle: Task and weights.
        device: Where the network runs.
        precision: Its arithmetic.
        seed: Which of the equally plausible pictures.
        as_: Colours or classes.
        threads: Threads of the network in one process; None leaves them to torch.
        norm: Statistics for norms that take them from the image.
    """

    bundle: Bundle
    device: str
    precision: str
    seed: int = 0
    as_: As = "rgb"
    threads: int | None = None
    norm: NormStatistics | None = None

    @property
    def key(self) -> Hashable:
        """The same as a key of a dictionary: bundles of one content are one."""
        return (
            self.bundle.sha256, self.device, self.precision, self.seed, self.as_, self.threads,
            self.norm,
        )  # fmt: skip

    def load(self) -> Translator:
        """The translator, made anew from the bundle as this machine has it.

        Raises:
            BundleError: If the bundle is not here, or was changed.
        """
        from geotrans.inference import Translator

        return Translator(
            find_bundle(self.bundle), device=self.device, precision=self.precision, seed=self.seed,
            as_=self.as_, norm=self.norm,
        )  # fmt: skip


# Weights are large: a process keeps those of the last few jobs it was given at a time.
_MAX_TRANSLATORS = 3
_translators: dict[Hashable, Translator] = {}
# The last one that was prepared, by requested and by resolved settings, with the memory of
# this process before it was made, bytes.
_prepared: dict[Hashable, tuple[Translator, int]] = {}
_lock = threading.Lock()


def get_translator(settings: NetworkSettings) -> Translator:
    """This process's one translator of these settings, made on first use."""
    with _lock:
        if settings.key not in _translators:
            _store(settings, settings.load())
            if settings.threads is not None:
                import torch

                torch.set_num_threads(settings.threads)
        return _translators[settings.key]


def prepare_translator(settings: NetworkSettings, *, base: int) -> tuple[Translator, int]:
    """A translator to plan with, reloaded only if the settings differ from the last ones.

    Scene after scene of an archive finds its network loaded, its precision chosen, and the memory
    it has already taken not counted again.

    Args:
        settings: As requested; device and precision may be `"auto"`.
        base: Memory of this process now, bytes.

    Returns:
        The translator, and the memory of this process before it was made, bytes.
    """
    with _lock:
        if settings.key not in _prepared:
            _prepared.clear()
            _translators.clear()
            translator = settings.load()
            resolved = replace(settings, precision=translator.precision)
            _prepared[settings.key] = _prepared[resolved.key] = translator, base
        return _prepared[settings.key]


def cache_translator(settings: NetworkSettings, translator: Translator) -> None:
    """Make a translator this process's one of these settings."""
    with _lock:
        _store(settings, translator)


@clears_cache
def clear_translators() -> None:
    """Release this process's translators."""
    with _lock:
        _translators.clear()
        _prepared.clear()


def find_bundle(bundle: Bundle) -> Bundle:
    """A bundle as this machine has it: at the same path, or where its own geotrans keeps it.

    Raises:
        BundleError: If neither holds these weights.
    """
    for path in (bundle.path, shipped_bundles().get(bundle.path.stem)):
        if path is not None and path.exists():
            bundle_here = Bundle.open(path)
            if bundle_here.sha256 == bundle.sha256:
                return bundle_here
    state = "changed while it was in use" if bundle.path.exists() else "is not here"
    raise BundleError(
        f"{bundle.path} {state}; the run began with sha256 {bundle.sha256[:12]}: put that file "
        "there, or start again"
    )


def _store(settings: NetworkSettings, translator: Translator) -> None:
    _translators.pop(settings.key, None)
    _translators[settings.key] = translator
    for oldest in list(_translators)[:-_MAX_TRANSLATORS]:
        del _translators[oldest]
