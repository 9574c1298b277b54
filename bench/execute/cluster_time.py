"""How long a pretraining takes on a cluster, by arithmetic from rates and links that somebody states. Nothing is run.

A step of N GPUs with n images each is as long as the longest of what goes on at once:

- computing: n / rate of a GPU;
- reading: the bytes of a node's images / what a node reads in a second;
- decoding: a node's images / (its cores × rate of a core);
- all-reduce of the gradients over a ring: 2(N−1)/N × their bytes / bandwidth of the slowest link (Patarasuk and Yuan,
  "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 2009, equation 1).

The all-reduce may go on beside the backward pass wholly or not at all, which makes a range of two times.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600.0
GB = 1e9


@dataclass(frozen=True)
class Work:
    """A pretraining."""

    images: int  # of an epoch
    epochs: int
    batch_size: int  # of a step, over all GPUs
    gradient_bytes: int
    checkpoint_bytes: int
    checkpoints: int  # written over the whole run
    background: bool = True  # whether training goes on while one is written

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run; the last, partial batch of an epoch is left out."""
        return self.epochs * (self.images // self.batch_size)


@dataclass(frozen=True)
class Cluster:
    """What is assumed of the machines; bytes are bytes, and rates are each second's."""

    rate: float  # images that a GPU trains on
    link: float  # bytes that a GPU sends to one of another node
    node_link: float  # bytes that a GPU sends to one of its node
    storage: float  # bytes that a node reads, and writes
    gpus_per_node: int
    cores_per_node: int
    core_rate: float  # images that a core decodes and makes the views of
    image_bytes: float  # of an image as it is stored


@dataclass(frozen=True)
class Simulated:
    """What follows for a number of GPUs."""

    gpus: int
    nodes: int
    images_per_gpu: int  # of a step
    step_seconds: dict[str, float]  # of each bound, were it alone
    bound: str  # which of them is the longest
    hours: float  # the all-reduce wholly beside the backward pass
    hours_not_hidden: float  # and after it
    all_reduce_share: float  # of a step's computing and all-reduce, one after the other
    read_per_node: float  # bytes a second, at the faster of the two times
    checkpoint_seconds: float  # of one

    @property
    def gpu_hours(self) -> float:
        """Hours × GPUs, at the faster of the two times."""
        return self.hours * self.gpus


def simulate(work: Work, cluster: Cluster, gpus: int) -> Simulated:
    """Return what a pretraining takes on so many GPUs, whose number divides the batch.

    GPUs fill nodes; the last node may have fewer, and the fullest node decides.
    """
    images = work.batch_size // gpus
    in_node = min(gpus, cluster.gpus_per_node)
    nodes = -(-gpus // cluster.gpus_per_node)
    of_node = images * in_node
    slowest = cluster.node_link if nodes == 1 else min(cluster.link, cluster.node_link)
    seconds = {
        "computing": images / cluster.rate,
        "reading": of_node * cluster.image_bytes / cluster.storage,
        "decoding": of_node / (cluster.cores_per_node * cluster.core_rate),
        "all-reduce": 2 * (gpus - 1) / gpus * work.gradient_bytes / slowest,
    }
    bound = max(seconds, key=seconds.__getitem__)
    network = seconds["all-reduce"]
    best = seconds[bound]
    worst = max(seconds["computing"] + network, seconds["reading"], seconds["decoding"])
    checkpoint = work.checkpoint_bytes / cluster.storage
    waiting = 0.0 if work.background else work.checkpoints * checkpoint
    return Simulated(
        gpus=gpus,
        nodes=nodes,
        images_per_gpu=images,
        step_seconds=seconds,
        bound=bound,
        hours=(work.steps * best + waiting) / HOUR,
        hours_not_hidden=(work.steps * worst + waiting) / HOUR,
        all_reduce_share=network / (seconds["computing"] + network),
        read_per_node=of_node * cluster.image_bytes / best,
        checkpoint_seconds=checkpoint,
    )
