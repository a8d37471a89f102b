"""Device and precision of a cluster's workers: alike on all, or tiles would show."""

from __future__ import annotations

from geotrans.errors import ClusterError, option
from geotrans.execution.cluster import Cluster
from geotrans.tasks import Bundle, NormStatistics
from geotrans.translation.translators import find_bundle


def shared_device(cluster: Cluster, name: str) -> str:
    """The device every worker of a cluster has.

    Args:
        cluster: Whose workers.
        name: Device name as `pick_device` takes it.

    Raises:
        ClusterError: If some would take a GPU and some have none.
        DeviceError: If a worker lacks the requested device.
    """
    devices = cluster.call_on_workers(_pick_device, name)
    kinds = {device.partition(":")[0] for device in devices.values()}
    if len(kinds) > 1:
        without = next(worker for worker, device in devices.items() if device == "cpu")
        n_without = sum(device == "cpu" for device in devices.values())
        raise ClusterError(
            f"{n_without} of {len(devices)} workers have no GPU ({without}); give "
            f"{option('device', 'cpu')}, or a cluster where all have one"
        )
    return next(iter(devices.values()))


def shared_precision(
    cluster: Cluster, name: str, *, bundle: Bundle, device: str, norm: NormStatistics | None
) -> str:
    """The arithmetic of every worker of a cluster: bfloat16 only where all are faster in it."""
    if name != "auto":
        return name
    if not all(cluster.call_on_workers(_has_bfloat16, device).values()):
        return "float32"
    precisions = set(cluster.call_on_workers(_pick_precision, bundle, device, norm).values())
    return precisions.pop() if len(precisions) == 1 else "float32"


def _pick_device(name: str) -> str:
    from geotrans.inference import pick_device

    return str(pick_device(name))


def _has_bfloat16(device: str) -> bool:
    from geotrans.inference import pick_device
    from geotrans.inference.precision import has_bfloat16

    return has_bfloat16(pick_device(device))


def _pick_precision(bundle: Bundle, device: str, norm: NormStatistics | None) -> str:
    from geotrans.inference import Translator

    return Translator(find_bundle(bundle), device=device, norm=norm).precision
