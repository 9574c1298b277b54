"""Derive docs/scale.md from `bench plan --simulate`'s arithmetic, and from what was measured of shards on a CPU.

    python docs/scale.py [--check]
    python docs/scale.py --measure      # first writes results/experiments/shards.json anew; a few minutes

No GPU was measured for this page: what GPUs do is assumed, and the page says so beside each number.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]

from writing import escaped, number, table  # noqa: E402

from bench.config.load import load_recipe  # noqa: E402
from bench.execute.simulate import HEAD, IMAGES, NOT_COUNTED, Assumption, Simulation, simulated  # noqa: E402
from bench.files import write_text  # noqa: E402

PAGE = ROOT / "docs" / "scale.md"
MEASURED = ROOT / "results" / "experiments" / "shards.json"
STEP = ROOT / "results" / "benchmarks" / "avx512-bf16" / "step.json"
GPUS = (8, 64, 512)
RECIPE, EPOCHS = "imagenet_byol", 100
TFLOPS, PEAK = 65.0, 312.0  # assumed of a GPU; stated by NVIDIA of an A100 in bf16
PARAMETERS = {"parameters": 35_066_944.0, "state_values": 68_155_373.0}  # of RECIPE: `--check` need not import torch
SETS = {"imagenet22k": "ImageNet-22k", "100m": "100 million images"}
OTHERS: dict[str, tuple[str, dict[str, float], float]] = {  # what is assumed instead, in words; values; times the rate
    "a slow file system": ("0.4 GB/s a node", {"storage": 0.4}, 1),
    "slow links": ("1.25 GB/s a GPU between nodes", {"link": 1.25}, 1),
    "few cores": ("16 cores a node", {"cores_per_node": 16}, 1),
    "GPUs of four times the speed": ("4 times the rate", {}, 4),
}

INTRO = """# Data and clusters beyond one machine

Derived by `python docs/scale.py`; never edited. **No GPU was measured for this page.** Hours are computed from the
assumptions that stand beside them. Put your own numbers in their place:

    bench plan --simulate 8,64,512 --pretrain imagenet_byol --set pretrain.epochs=100 --images imagenet22k \\
               --rate 1000 --link 25 --storage 2 --assume cores_per_node=96

`--images` is a number, or `coco`, `imagenet`, `imagenet22k` or `100m`. Without `--rate` the speed is taken that this
work folder has timed of the recipe. `--json` prints all of it, the assumptions too."""

MODEL = """## How it is computed

A step of N GPUs is as long as the longest of four things that go on at once: computing, reading, decoding, and adding
up the gradients over a ring, which takes 2(N−1)/N times their bytes over the slowest link. Hours are a range: the
gradients travel wholly beside the backward pass, or wholly after it. The batch is the recipe's, so that more GPUs have
fewer images each. Column *all-reduce* is its share of computing and all-reduce, one after the other; *bound* is the
longest of the four."""

SHARDS = """## Shards

A file system that holds 100 million files is slow to list and to copy. `bench` reads the same images from WebDataset
shards: tars in which a sample is the files of one key, `KEY.jpg` (also jpeg, png, webp and the other endings that
folders are read with), and `KEY.cls` or `KEY.json` (an entry `label`) with the number of its class.

    bench data shard imagenet --to DIR --size 1000 --data-root imagenet=FOLDER   # from a folder: shards of 1,000 MB
    bench data check imagenet --data-root imagenet=DIR                           # counts, damage, doubles, no labels
    bench run --pretrain imagenet_byol --downstream imagenet_linear --data-root imagenet=DIR

A root holds shards where its files are named so: `train/*.tar` and `val/*.tar`; or `train-000000.tar`,
`val-000000.tar`, also with words before (`imagenet1k-train-0000.tar`, `…-validation-00.tar`); or `NAME-000000.tar`
alone, which are all `train`. Numbers begin with 0 or 1 and have no gap: a shard that is missing between others is
refused. That the last ones are missing, or number 0 where 1 is there, no name tells; compare the images that `bench
data check` counts. Refused, too, are shards that are truncated, damaged, not finished, compressed (`gunzip` them: no
image in them can be read alone), of one split in two places, or beside an unpacked copy. `classes.txt` has the names
of the classes, one a line in the order of their numbers; without it the numbers are the names. Data sets of images read
them: `coco`, `imagenet`, `imagenet100` (by `classes.txt`), and [your own](adding_a_dataset.md) where its class has
`shards = True`, as classes that derive from `ClassFolders` have.

- **The same results.** Images are listed by class and name, whatever shard they are in, and each draw of a seed is the
  image that it is from the folder: batches, weights and accuracies are the same bits, and a run goes on where it was
  stopped. The package `webdataset` itself reads tars in sequence and shuffles a buffer, so that no draw has a number.
- **The same fingerprint.** What `bench data shard` writes of class folders, or of a folder of images without classes,
  has the fingerprint of that folder: the same images are the same data, and no trunk is trained anew. It hashes names,
  sizes and the content of up to 1,024 images, as of files. Where names do not say the class (shards from elsewhere, or
  a flat `val/` of ImageNet), the labels are hashed as well. How images are split over shards does not matter.
- **An index** says where each image lies. It is made once, by reading the headers of all tars, and kept in the user's
  cache folder, or in the one that `BENCH_SHARD_INDEX` names; with `--keep-index` of `bench data shard` and `bench data
  check` it is kept in `.bench-shards/` beside the shards, too, for other machines. A shard of another size or time of
  modification is listed anew. A shard that changes while a run reads it ends the run with its name.
- A process has at most 128 shards of a split open. Loaders' workers share the index and read at offsets.
- `bench data pack` makes packs of files, not of shards. A pack that was made of the folder is found by its fingerprint
  where `BENCH_PACK_DIR` names its place."""


# ---------------------------------------------------------------------------------------------- measuring


def fastest(work: Callable[[], object], times: int) -> float:
    """Return the processor seconds, of all threads, of the fastest of several runs; what else runs counts little."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def measure(samples: int = 20_000, images: int = 1000, size: int = 115_000) -> dict[str, Any]:
    """Measure making, keeping and holding an index, and reading images in random order from shards and from files."""
    import numpy as np

    from bench.data.sets import index
    from bench.data.shards.index_file import VARIABLE, read_table
    from bench.data.shards.writing import write_shards
    from bench.record import environment

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[VARIABLE] = str(folder / "index")
        small, large = folder / "small", folder / "large"
        for root, count, length in ((small, samples, 64), (large, images, size)):
            for number in range(count):
                file = root / "plain" / "train" / f"n{number % 100:08d}" / f"n{number % 100:08d}_{number}.JPEG"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(random.bytes(length))
            write_shards("imagenet", root / "plain", root / "shards", size=100)
        shards = sorted(file.name for file in (small / "shards").glob("*.tar"))

        def list_anew() -> None:
            for file in (folder / "index").iterdir():
                file.unlink()
            read_table(small / "shards", "train", shards)

        listing = fastest(list_anew, 3)
        kept = max((folder / "index").glob("*.npz"), key=lambda file: file.stat().st_size)
        tracemalloc.start()
        held = index("imagenet", small / "shards", "train")
        memory, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        plain, sharded = (index("imagenet", large / each, "train") for each in ("plain", "shards"))
        order = random.permutation(images).tolist()
        assert sharded.members is not None
        members = sharded.members
        from_shards = fastest(lambda: [members.read(place) for place in order], 10)
        from_files = fastest(lambda: [plain.file(place).read_bytes() for place in order], 10)
        hardware = environment()["hardware"]
        return {
            "about": "a second is one of processor time, of the fastest of several runs; "
            "everything lies in the page cache",
            "cpu": hardware.cpu,
            "cores": hardware.cores,
            "samples": len(held.files),
            "index_samples_per_second": round(len(held.files) / listing),
            "index_bytes_per_image": round(kept.stat().st_size / len(held.files), 1),
            "memory_bytes_per_image": round(memory / len(held.files)),
            "peak_bytes_per_image": round(peak / len(held.files)),
            "image_bytes": size,
            "from_shards_per_second": round(images / from_shards),
            "from_files_per_second": round(images / from_files),
        }


# ---------------------------------------------------------------------------------------------- the page


def flop_per_image() -> float:
    """Return the operations of a training image, as torch counted them."""
    return float(json.loads(STEP.read_text(encoding="utf-8"))["flops"]["gflop_per_step"]) / 16


def rate(factor: float = 1) -> Assumption:
    """Return what a GPU is assumed to train on in a second, rounded to hundreds."""
    images = round(TFLOPS * 1000 / flop_per_image(), -2)
    why = f"assumed: {TFLOPS:.0f} TFLOP/s, about a fifth of the {PEAK:.0f} in bf16 that NVIDIA states of an A100"
    return Assumption(
        "rate", images * factor, "images/s a GPU", f"{why}; {flop_per_image():.0f} GFLOP an image, counted"
    )


def simulation(images: int, values: Mapping[str, float] | None = None, factor: float = 1) -> Simulation:
    """Simulate the page's recipe."""
    recipe = load_recipe(RECIPE, extra={"epochs": EPOCHS})
    found = simulated(recipe, images, GPUS, rate(factor), {**PARAMETERS, **(values or {})})
    named = [
        replace(one, source=one.source.replace("from --assume", f"counted: byol on a {recipe.arch}"))
        for one in found.assumptions
    ]
    return replace(found, assumptions=tuple(named))


def page(measured: Mapping[str, Any]) -> str:
    """Return the page."""
    blocks = [INTRO]
    for name, words in SETS.items():
        found = simulation(IMAGES[name])
        stored = f"{IMAGES[name] * 115_000 / 1e12:.1f} TB at 115 KB each (assumed)"
        blocks += [
            f"## {words}",
            f"{IMAGES[name]:,} images, {stored}; BYOL on a ResNet-50, {EPOCHS} epochs, simulated:",
        ]
        blocks.append(table(HEAD, map(found.row, found.results), left=0))
    blocks += ["These numbers rest on:", assumptions(simulation(IMAGES["imagenet22k"]).assumptions)]
    blocks += ["Not counted: " + "; ".join(line.strip() for line in NOT_COUNTED[1:]) + "."]
    blocks += ["At 512 GPUs a GPU has 8 images of a step, and is surely slower than the rate says.", MODEL]
    blocks += ["## Where something else is slow", "ImageNet-22k again, with one thing assumed otherwise:"]
    rows = [
        [escaped(f"{name}: {words}"), *each]
        for name, (words, values, factor) in OTHERS.items()
        for each in map(short, simulation(IMAGES["imagenet22k"], values, factor).results)
    ]
    blocks += [table(("", "GPUs", "hours", "bound"), rows), SHARDS, costs(measured)]
    return "\n\n".join(blocks) + "\n"


def short(result: Any) -> tuple[str, str, str]:
    """Return the cells of a simulation in the table of what is slow."""
    return f"{result.gpus}", f"{result.hours:,.1f} to {result.hours_not_hidden:,.1f}", result.bound


def assumptions(given: Sequence[Assumption]) -> str:
    """Return the assumptions as a table."""
    rows = [(one.name, f"{one.value:,.6g} {one.unit}", escaped(one.source)) for one in given]
    return table(("", "value", "source"), rows, left=3)


def costs(measured: Mapping[str, Any]) -> str:
    """Return what an index costs, measured on a CPU, and what follows for many images."""
    many, size = IMAGES["100m"], measured["image_bytes"]
    hours = number(many / measured["index_samples_per_second"] / 3600)
    sizes = {key: measured[f"{key}_bytes_per_image"] for key in ("index", "memory", "peak")}
    disk, held, peak = (number(many * each / 1e9) for each in sizes.values())
    of_22k = number(IMAGES["imagenet22k"] * sizes["peak"] / 1e9)
    shards, files, listed = (
        number(measured[f"{key}_per_second"]) for key in ("from_shards", "from_files", "index_samples")
    )
    return f"""## What shards cost

Measured on a machine with the processor "{measured["cpu"]}", in `results/experiments/shards.json`: {measured["about"]}.

- Reading images of {size / 1000:.0f} KB in random order: {shards} a second from shards, {files} from files.
- Making the index: {listed} samples a second, of {measured["samples"]:,} small ones.
- The index: {sizes["index"]:g} bytes an image on disk. A split's list takes {sizes["memory"]} bytes an image in memory,
  mostly for names, and up to {sizes["peak"]} while it is made.

By proportion, and not tried: 100 million images take {hours} h of one core to index, once, and as long as the disk
needs for their headers; {disk} GB of disk; and at least {held} GB of memory in each process of a GPU, {peak} GB while
it starts. Memory is what limits how many images a node can train on: ImageNet-22k needs {of_22k} GB a process."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 when the page differs."""
    parser = argparse.ArgumentParser(description="Derive docs/scale.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page differs")
    parser.add_argument("--measure", action="store_true", help="measure first what shards cost here")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.measure:
        write_text(MEASURED, json.dumps(measure(), indent=1) + "\n")
    content = page(json.loads(MEASURED.read_text(encoding="utf-8")))
    if not options.check:
        options.page.write_bytes(content.encode())
        print(f"wrote {options.page}")
        return 0
    same = options.page.is_file() and options.page.read_bytes() == content.encode()
    if not same:
        print(f"{options.page} differs from what it is derived from\nRun make docs and commit it.", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
