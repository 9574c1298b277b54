"""What is written for CUDA and has never run on a GPU: a list for the page, kept by hand. What has run is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Untried(NamedTuple):
    """Code by the name of its module below bench/ and its own, what it does on CUDA, and the test that stands in."""

    module: str
    name: str
    what: str
    test: str  # "file below tests/::its name", which executes the lines on a CPU; "" where none does


UNTRIED = (
    Untried("train/interventions", "until_done", "memory that is given back before a training is begun anew", ""),
    Untried("train/feed", "to_device", "copies on a stream of their own",
            "train/test_step.py::test_copies_run_on_a_stream_of_their_own"),
    Untried("train/feed", "_copies", "that stream", ""),
    Untried("train/step", "Step.backward", "each part of a step marked as a generation of CUDA graphs",
            "train/test_step.py::test_parts_of_a_step_with_cuda_graphs"),
    Untried("train/step", "Step._own_gradients", "gradients moved out of the memory of the graphs",
            "train/test_step.py::test_parts_of_a_step_with_cuda_graphs"),
    Untried("train/step", "compile_networks", "programs of Triton, and their recording in CUDA graphs", ""),
    Untried("train/step", "check_compiling", "what is refused before it is compiled",
            "train/test_step.py::test_compiling_is_refused_where_it_cannot_work"),
    Untried("train/optim", "Lars._scale", "LARS's ratios in foreach's fast way",
            "train/test_step.py::test_foreach_lars_equals_timms"),
    Untried("train/clipping", "clip_each", "norms and products in foreach, a kernel for each parameter",
            "train/test_loop.py::test_each_gradient_is_cut_to_its_own_norm"),
    Untried("train/precision", "native_bf16", "by compute capability",
            "train/test_precision.py::test_which_gpus_multiply_bf16"),
    Untried("train/precision", "without_tf32", "the settings have an effect on a GPU alone",
            "train/test_precision.py::test_checks_run_without_tf32"),
    Untried("train/gpus", "check_built_for_gpus", "GPUs that this torch was not built for",
            "train/test_gpus.py::test_a_gpu_that_torch_was_not_built_for_is_refused"),
    Untried("train/distributed", "ranks_of", "NCCL, and the device of a rank", ""),
    Untried("train/background", "HostCopy", "copies of a state in pinned memory, and the wait for them", ""),
    Untried("train/monitor", "undisturbed", "the random state of the device kept", ""),
    Untried("stages/norm_statistics", "measure_norms", "images passed through the encoder block by block, without TF32",
            "stages/test_pretrain.py::test_norms_are_measured_on_training_images_and_weights_stay"),
    Untried("nn/norm", "convert_sync_batchnorm", "torch.nn.SyncBatchNorm, of all or of a group; its choice is tested",
            "nn/test_norm.py::test_cuda_gets_torchs_own"),
    Untried("nn/norm", "PartBatchNorm", "cuDNN's norms of parts of a batch, in channels_last",
            "nn/test_norm.py::test_each_part_is_normalised_by_itself_and_running_statistics_are_means_over_them"),
    Untried("nn/collectives", "group_of", "process groups of NCCL", ""),
    Untried("nn/neighbours", "Bank", "a coarse search in float16 with float32 sums", ""),
    Untried("nn/neighbours", "dots", "the candidates of it, in float64", ""),
    Untried("data/images", "loader", "pinned batches", ""),
    Untried("data/views/batch", "Batch", "pinned batches", ""),
    Untried("data/views/device", "precision", "views computed in float16", ""),
    Untried("data/views/resident", "Resident", "pinned places and draws, the stream that batches are made on", ""),
    Untried("stages/pretrain", "run", "cudnn.benchmark, as shapes never change", ""),
    Untried("stages/timing", "pretraining", "a step timed on the GPU, as pretraining runs it", ""),
    Untried("stages/timing_frozen", "_in_memory", "the GPU's memory that was needed", ""),
    Untried("stages/stopwatch", "Stopwatch", "the wait for the device before time is taken", ""),
    Untried("machine", "loader_workers", "loader processes beside a GPU",
            "test_machine.py::test_workers_follow_the_cores_and_what_shares_them"),
    Untried("stages/knn", "extract", "a bank that stays on the host where the GPU has no room for it", ""),
    Untried("stages/features", "loaded", "pinned batches", ""),
    Untried("stages/frozen_trunk", "FrozenTrunk", "a folded trunk in channels_last, and compiled", ""),
    Untried("stages/diagnostics", "run", "a whole validation set on the GPU", ""),
    Untried("stages/segmentation/finetune", "run", "SyncBatchNorm of mmseg's networks over GPUs", ""),
    Untried("stages/segmentation/samples", "training_loader", "pinned batches", ""),
    Untried("peak_memory", "peak_memory_mib", "the memory that torch had allocated on the GPU", ""),
    Untried("made", "part", "the GPUs, CUDA, cuDNN and TF32 of what made a result", ""),
    Untried("execute/speed", "machine", "the name of the GPU that was timed on", ""),
    Untried("execute/devices", "cuda_devices", "the GPUs that stages are shared out to", ""),
    Untried("execute/machine", "this_machine", "the names of the GPUs", ""),
    Untried("execute/doctor", "diagnose", "the list of GPUs", ""),
)  # fmt: skip


TITLE = """### Never run on a GPU

What is written for CUDA was checked by reading torch's source, and by tests that execute it on a CPU with a stand-in
for CUDA, where that can be done honestly. None of it has run on a GPU:"""

DECIDED = """Decided by reading torch 2.15:

- `cudnn.benchmark` chooses algorithms by the clock, so that two processes may round differently. Pretraining sets it,
  and so do mmseg's configs. Frozen trunks do not: a feature that is kept must be the one that any process computes.
- Float32 convolutions use TF32 on GPUs of compute capability 8.0 or above, which is torch's default. Checks of folded
  norms and of compiled trunks run without it; the load proof and the check of a folded trunk run on the CPU.
- `compile=True` is refused where norms are over the images of several GPUs: torch.nn.SyncBatchNorm breaks the program
  at each norm.
- A GPU below 8.0 emulates bf16, and `precision=auto` is float32 there. One that this torch has no programs for is
  refused."""


def untried(listed: Sequence[Untried] = UNTRIED) -> str:
    """Return the section of the page."""
    rows = ["| code | on CUDA | test that executes it on a CPU |", "| :--- | :--- | :--- |"]
    for one in listed:
        test = one.test.partition("::")[2]
        words = f"`{test}`" if test else "–"
        rows.append(f"| `bench/{one.module}.py`, `{one.name}` | {one.what} | {words} |")
    return "\n\n".join([TITLE, "\n".join(rows), DECIDED])
