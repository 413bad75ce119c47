"""Whether the Ray cluster that the environment names can compute rows."""

import numpy as np

from commands.doctor.findings import Finding, State, first_names
from thaw.machine import processor
from thaw.reuse.cluster import Cluster, Compute


def check_cluster(address: str) -> Finding:
    """Find out which nodes are there, whether they have this Thaw, and which have another processor."""

    def there() -> tuple[str, Compute]:  # within, so that nodes do not load DVC for it
        return processor(), np.asarray

    cluster = Cluster(address)
    devices = f"{sum(node.cpus for node in cluster.nodes)} CPU cores, {cluster.gpus} GPUs"
    text = f"{len(cluster.nodes)} nodes at {address}, {devices}"
    others = [f"{node.name}: {kind}" for node, kind in cluster.kinds(there).items() if kind != processor()]
    if others:
        text = f"{text}; the processor is another on {len(others)}, which compute no features: {first_names(others)}"
        return Finding("cluster", State.WARNING, text)
    return Finding("cluster", State.OK, f"{text}; each has this Thaw and this processor")
