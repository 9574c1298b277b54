"""Commands that look at data sets, pack and render them: `bench data …`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench import cli_completion
from bench.cli_options import App, DataRoot, UnreadableOption, WorkDir
from bench.errors import BadInput, Interrupted

app = App("data", "Look at data sets.")


Split = StrEnum("Split", ["train", "val"])  # that can be packed; the parser knows no list of literals


@app.command("check")
def data_check_command(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Such as coco, imagenet, cityscapes or cifar10.",
            metavar="DATASET",
            autocompletion=cli_completion.data_sets,
        ),
    ],
    data_root: DataRoot = [],  # noqa: B006
    full: Annotated[
        bool,
        typer.Option("--full", help="Read all content, too: write a manifest that later runs are held to, or compare."),
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="With --full: where it is; the work folder, if left out.", metavar="FILE"),
    ] = None,
    keep_index: Annotated[
        bool, typer.Option("--keep-index", help="Of shards: keep the index of what is in them beside them, too.")
    ] = False,
    work_dir: WorkDir = Path("runs"),
) -> None:
    """Decode all files of a data set; say which layout and labels it has, and what is missing or unreadable."""
    from bench.data.roots import resolve_roots
    from bench.data.sets import find
    from bench.data.sets.check import check, check_content
    from bench.data.sets.sharded import keep_index_beside

    if manifest is not None and not full:
        raise BadInput("--manifest says where --full keeps the manifest; give both, or leave it out.")
    root = resolve_roots(data_root).find(dataset)
    report = None if full and find(dataset) is None else check(dataset, root)  # mmseg alone may know how to read it
    for line in report.lines() if report is not None else ():
        print(line)
    if keep_index:
        print(f"index      {keep_index_beside(dataset, find(dataset), root)}")
    if full:
        print(f"manifest   {check_content(dataset, root, work_dir / 'data.json', manifest)}")
    if report is not None and not report.ok:
        raise BadInput(f"{dataset} at {root} has the problems above; correct or remove the files that are named.")


@app.command("pack")
def data_pack_command(
    dataset: Annotated[
        str,
        typer.Argument(
            help="coco, imagenet or imagenet100.", metavar="DATASET", autocompletion=cli_completion.data_sets
        ),
    ],
    data_root: DataRoot = [],  # noqa: B006
    split: Annotated[
        list[Split],
        typer.Option("--split", help="Which splits; all, if left out.", metavar="train [val]"),
    ] = [],  # noqa: B006
    short_side: Annotated[int, typer.Option("--short-side", min=32, help="Larger images are shrunk to it.")] = 256,
    format: Annotated[Literal["jpeg", "uint8"], typer.Option("--format", help="How pixels are stored.")] = "jpeg",
    quality: Annotated[int | None, typer.Option("--quality", min=1, max=100, help="Of JPEG; 90 if left out.")] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", envvar="BENCH_PACK_DIR", help="Where to; the data root, if left out.", metavar="DIR"),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one a core if left out.")] = None,
    unreadable: UnreadableOption = "fail",
) -> None:
    """Shrink a data set's images once, into few large files that training then reads instead."""
    from bench.data.packs.manifest import Form
    from bench.data.packs.writing import pack, summary
    from bench.data.roots import resolve_roots
    from bench.data.sets import splits

    if quality is not None and format != "jpeg":
        raise BadInput("--quality is of JPEG; leave it out with --format uint8.")
    form = Form(format=format, short_side=short_side, quality=(quality or 90) if format == "jpeg" else None)
    root = resolve_roots(data_root).find(dataset)
    for name in [str(part) for part in split] or splits(dataset, root) or ["train"]:
        try:
            made, there = pack(dataset, root, name, form, to=to, workers=workers, unreadable=unreadable)
        except KeyboardInterrupt as error:  # which the parser would turn into an exit without a word
            raise Interrupted(f"Packing {dataset} {name} was interrupted; what was packed stays.") from error
        print(summary(made, there), flush=True)
    if to is not None and os.environ.get("BENCH_PACK_DIR") != str(to):
        print(f"So that plan and run find it, set BENCH_PACK_DIR={to.absolute()}", flush=True)


@app.command("shard")
def data_shard_command(
    dataset: Annotated[
        str,
        typer.Argument(help="Such as coco or imagenet.", metavar="DATASET", autocompletion=cli_completion.data_sets),
    ],
    to: Annotated[Path, typer.Option("--to", help="Where to; a folder without shards.", metavar="DIR")],
    data_root: DataRoot = [],  # noqa: B006
    split: Annotated[
        list[Split], typer.Option("--split", help="Which splits; all, if left out.", metavar="train [val]")
    ] = [],  # noqa: B006
    size: Annotated[int, typer.Option("--size", min=1, help="Of a shard, in MB (10^6 bytes).")] = 1000,
    keep_index: Annotated[
        bool, typer.Option("--keep-index", help="Keep the index of what is in the shards beside them, too.")
    ] = False,
) -> None:
    """Write a data set's images as WebDataset shards, which are then read in their place."""
    from bench.data.roots import resolve_roots
    from bench.data.shards.writing import write_shards

    root = resolve_roots(data_root).find(dataset)
    chosen = [str(part) for part in split]
    try:
        written = write_shards(dataset, root, to, split_names=chosen, size=size, beside=keep_index)
    except KeyboardInterrupt as error:  # which the parser would turn into an exit without a word
        raise Interrupted(f"Sharding {dataset} was interrupted; nothing was left in {to}.") from error
    for one in written:
        print(one.words(to), flush=True)


@app.command("render")
def data_render_command(
    folder: Annotated[Path, typer.Argument(help="Where to write coco/, imagenet/, cifar10/ and so on.", metavar="DIR")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Render tiny procedural data sets in the layouts of the originals."""
    from bench.execute.stage_file import make_folder
    from bench.synthetic.render import render

    make_folder(folder, "DIR")
    for name, place in render(folder, seed).items():
        print(f"{name:<11} {place}")
