"""Whether the Ray cluster that the environment names can compute rows."""

import numpy as np

from commands.doctor.findings import Finding, State
from commands.output import counted, first_names
from thaw.machine import processor
from thaw.reuse.cluster import Cluster, Compute


def check_cluster(address: str) -> Finding:
    """Find out which nodes are there, whether they have this Thaw, and which have another processor."""

    def there() -> tuple[str, Compute]:  # within, so that nodes do not load DVC for it
        return processor(), np.asarray

    cluster = Cluster(address)
    cores = sum(node.cpus for node in cluster.nodes)
    devices = f"{counted(cores, 'CPU core')}, {counted(cluster.gpus, 'GPU')}"
    text = f"{counted(len(cluster.nodes), 'node')} at {address}, {devices}"
    others = [f"{node.name}: {kind}" for node, kind in cluster.kinds(there).items() if kind != processor()]
    if others:
        text = f"{text}; the processor is another on {len(others)}, which compute no features: {first_names(others)}"
        return Finding("cluster", State.WARNING, text)
    return Finding("cluster", State.OK, f"{text}; each has this Thaw and this processor")
