"""The command line. Only argument parsing lives here; everything else is imported when a command needs it.

Exit codes: 0 done, 1 a stage failed, 2 bad input, 75 the given time is over and there is more to do, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BadInput, Interrupted, MoreToDo, StageFailed

if TYPE_CHECKING:
    from bench.execute.grid import Grid, Request
    from bench.plan import Stage

app = typer.Typer(
    name="bench",
    help="Pretrain, convert, transfer, compare: which pretraining transfers best, and can the number be believed?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


class ProfileName(StrEnum):
    full = "full"
    mini = "mini"
    smoke = "smoke"


class TableFormat(StrEnum):
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    html = "html"


class SplitName(StrEnum):
    train = "train"
    val = "val"


class PackFormat(StrEnum):
    jpeg = "jpeg"
    uint8 = "uint8"


class AllocatorName(StrEnum):
    auto = "auto"
    default = "default"
    jemalloc = "jemalloc"


class Unreadable(StrEnum):
    fail = "fail"
    skip = "skip"


# Options that take one value or more: `--seeds 0 1 2`. The parser below knows only `--seeds 0 --seeds 1`.
SEVERAL = frozenset({"--pretrain", "--downstream", "--seeds", "--set", "--sweep", "--data-root", "--split", "--only"})

Pretrain = Annotated[
    list[str], typer.Option("--pretrain", help="Pretraining configs: names or paths.", metavar="A [B …]")
]
Downstream = Annotated[
    list[str], typer.Option("--downstream", help="Downstream configs: names, paths, mmseg configs.", metavar="X [Y …]")
]
Seeds = Annotated[list[int], typer.Option("--seeds", help="Seeds: each cell is run once a seed.", metavar="0 [1 …]")]
Assignments = Annotated[
    list[str], typer.Option("--set", help="Values laid over the configs, e.g. epochs=2.", metavar="KEY=VALUE")
]
Sweep = Annotated[
    list[str],
    typer.Option(
        "--sweep",
        help="Each pretraining once for every value, e.g. objective.temperature=0.1,0.2; several: every combination.",
        metavar="KEY=V,V",
    ),
]
DataRoot = Annotated[
    list[str], typer.Option("--data-root", help="coco=DIR cityscapes=DIR …, or one parent folder.", metavar="NAME=DIR")
]
ProfileOption = Annotated[ProfileName, typer.Option("--profile", help="The schedule: a named overlay in the configs.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Profile smoke, on scenes rendered here (no data needed).")]
WorkDir = Annotated[
    Path, typer.Option("--work-dir", envvar="BENCH_WORK_DIR", help="Where stages keep their files.", metavar="DIR")
]
ResultsDir = Annotated[
    Path | None, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR", help="Records and tables.", metavar="DIR")
]
Gpus = Annotated[int, typer.Option("--gpus", min=1, help="Processes a stage: one a GPU; gloo processes on a CPU.")]
AllocatorOption = Annotated[
    AllocatorName | None,
    typer.Option("--allocator", help="The stages' C allocator; BENCH_ALLOCATOR says the same.", show_default="auto"),
]
UnreadableOption = Annotated[Unreadable, typer.Option("--unreadable", help="What to do with an unreadable image.")]


def main() -> None:
    """Run the command line and exit with its code."""
    # Threads that wait by spinning fight with whatever else runs on the machine: a training step was 5 times slower
    # beside other jobs. OpenMP reads this when torch is imported, here or in a process we start.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = app(args=spread(arguments), standalone_mode=False, prog_name="bench")
    except BadInput as error:
        return _complain(str(error), 2)
    except StageFailed as error:
        return _complain(str(error), 1)
    except MoreToDo as error:
        return _complain(f"{error} Go on with: {_go_on(arguments)}", 75)
    except Interrupted as error:
        return _complain(f"{error} Go on with: {_go_on(arguments)}", 130)
    except KeyboardInterrupt:
        return _complain(f"Interrupted; what was finished stays. Go on with: {_go_on(arguments)}", 130)
    except typer.Exit as error:
        return int(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe left: `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A usage error of the parser: one sentence, without its box and without a traceback.
        if (format_message := getattr(error, "format_message", None)) is None:
            raise
        return _complain(f"{format_message().rstrip('.')}; bench COMMAND --help shows what there is.", 2)
    return result if isinstance(result, int) else 0


def spread(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--seeds 0 1` as `--seeds 0 --seeds 1`, for the options that take several."""
    words: list[str] = []
    option = None
    fresh = False  # whether the option still waits for its first value
    for word in arguments:
        if word.startswith("-"):
            option, fresh = (word, True) if word in SEVERAL else (None, False)
            words.append(word)
        elif option is not None and not fresh:
            words += [option, word]
        else:
            words.append(word)
            fresh = False
    return words


def _complain(message: str, code: int) -> int:
    print(f"bench: {message}", file=sys.stderr, flush=True)
    return code


def _go_on(arguments: Sequence[str]) -> str:
    import shlex

    return shlex.join(["bench", *arguments])


# ------------------------------------------------------------------------------------------- run and plan


@app.command("run")
def run_command(
    pretrain: Pretrain,
    downstream: Downstream = [],  # noqa: B006 - the parser wants a list, and never changes it
    seeds: Seeds = [0],  # noqa: B006
    profile: ProfileOption = ProfileName.full,
    smoke: Smoke = False,
    assignments: Assignments = [],  # noqa: B006
    sweep: Sweep = [],  # noqa: B006
    data_root: DataRoot = [],  # noqa: B006
    gpus: Gpus = 1,
    unreadable: UnreadableOption = Unreadable.fail,
    work_dir: WorkDir = Path("runs"),
    results_dir: ResultsDir = None,
    allocator: AllocatorOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Run the grid: pretrainings × downstream tasks × seeds. What is recorded already is skipped."""
    from bench.execute.grid import plan_grid
    from bench.execute.local import run_grid

    request = _request(
        pretrain, downstream, seeds, profile, smoke, assignments, sweep, data_root, work_dir, results_dir, unreadable
    )
    if dry_run:
        _print_plan(plan_grid(request, act=False), gpus)
        return
    if allocator is not None:
        os.environ["BENCH_ALLOCATOR"] = allocator.value  # stages inherit it
    grid = plan_grid(request, act=True)
    for note in grid.notes:
        print(f"note: {note}", flush=True)
    run_grid(grid, gpus, request.unreadable)
    if downstream:
        _print_results(grid)


@app.command("plan")
def plan_command(
    pretrain: Pretrain,
    downstream: Downstream = [],  # noqa: B006
    seeds: Seeds = [0],  # noqa: B006
    profile: ProfileOption = ProfileName.full,
    smoke: Smoke = False,
    assignments: Assignments = [],  # noqa: B006
    sweep: Sweep = [],  # noqa: B006
    data_root: DataRoot = [],  # noqa: B006
    gpus: Gpus = 1,
    work_dir: WorkDir = Path("runs"),
    results_dir: ResultsDir = None,
) -> None:
    """Print the stages: which are done, what each needs and produces, and the command of each."""
    from bench.execute.grid import plan_grid

    request = _request(
        pretrain, downstream, seeds, profile, smoke, assignments, sweep, data_root, work_dir, results_dir
    )
    _print_plan(plan_grid(request, act=False), gpus)


@app.command("stage")
def stage_command(
    folder: Annotated[Path, typer.Argument(help="A stage's folder, as bench plan names it.", metavar="FOLDER")],
    gpus: Gpus = 1,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="If another process runs it: wait, or leave.")] = True,
) -> None:
    """Run one stage in this process (what torchrun and a cluster call)."""
    from bench.execute.stage import run_stage

    run_stage(folder, gpus, wait)


@app.command("reproduce")
def reproduce_command(
    study: Annotated[
        str, typer.Argument(help="deck-small: the deck's first table; loss2-short: see docs/loss2.md.", metavar="STUDY")
    ],
    only: Annotated[list[str], typer.Option("--only", help="Only these data sets.", metavar="A [B …]")] = [],  # noqa: B006
    seeds: Seeds = [0],  # noqa: B006
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="Stop in good order after this time; exit code 75 if more is left."),
    ] = None,
    mini: Annotated[bool, typer.Option("--mini", help="Profile mini.")] = False,
    smoke: Smoke = False,
    data_root: DataRoot = [],  # noqa: B006
    gpus: Gpus = 1,
    work_dir: WorkDir = Path("runs"),
    results_dir: ResultsDir = None,
    timing: Annotated[
        bool | None,
        typer.Option(
            "--time/--no-time",
            help="Time a few steps first, to say how long each run takes.",
            show_default="unless --dry-run or --smoke",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Do all of a published table: pretrainings in order, each measured and recorded; a second call goes on."""
    from bench.execute.reproduce import Options, plan_study, run_study

    if mini and smoke:
        raise BadInput("--mini and --smoke are two profiles; leave one out.")
    options = Options(
        seeds=seeds,
        only=only,
        profile="smoke" if smoke else "mini" if mini else "full",
        data_root=data_root,
        gpus=gpus,
        work_dir=work_dir,
        results_dir=results_dir,
        minutes=minutes,
        timing=timing if timing is not None else not (dry_run or smoke),
    )
    plan = plan_study(study, options, act=not dry_run)
    if dry_run:
        print("\n".join(plan.lines()))
        return
    try:
        run_study(plan)
    finally:
        _print_small_images(plan.results_dir)


def _print_small_images(results_dir: Path) -> None:
    """Regenerate the tables, and print the sections of small images, if there is a record of any."""
    from bench.results.tables import small_image_sections, write_tables

    if text := small_image_sections(results_dir):
        print(f"\n{text}", flush=True)
        print("tables: " + ", ".join(str(file) for file in write_tables(results_dir)), flush=True)


def _request(
    pretrain: list[str],
    downstream: list[str],
    seeds: list[int],
    profile: ProfileName,
    smoke: bool,
    assignments: list[str],
    sweep: list[str],
    data_root: list[str],
    work_dir: Path,
    results_dir: Path | None,
    unreadable: Unreadable = Unreadable.fail,
) -> Request:
    from bench.execute.grid import Request

    return Request(
        pretrain=pretrain,
        downstream=downstream,
        seeds=seeds,
        profile=profile.value,
        smoke=smoke,
        assignments=assignments,
        sweep=sweep,
        data_root=data_root,
        work_dir=work_dir,
        results_dir=results_dir,
        unreadable=unreadable.value,
    )


def _print_plan(grid: Grid, gpus: int) -> None:
    for stage in grid.stages:
        state = grid.states[stage.fingerprint]
        needs = [f"{role}: {parent.kind} {parent.label}" for role, parent in stage.parents.items()]
        needs += [
            f"data: {name}" + (" (missing)" if name in grid.problems else "") + _packed(stage, name)
            for name in stage.data
        ]
        made = str(grid.work_dir / stage.folder)
        if stage.is_task:
            made = str(grid.results_dir / "records" / stage.record_name)
        elif stage.outputs:
            made += "/" + (stage.outputs[0] if len(stage.outputs) == 1 else "{" + ",".join(stage.outputs) + "}")
        print(f"{state:<10} {stage.kind} {stage.label}")
        print(f"           needs     {'; '.join(needs) or 'nothing'}")
        print(f"           produces  {made}")
        print(f"           command   {stage.command(grid.work_dir, gpus)}")
    counts = {state: list(grid.states.values()).count(state) for state in dict.fromkeys(grid.states.values())}
    print(f"{len(grid.stages)} stages: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    for problem in grid.problems.values():
        print(f"missing: {problem}")
    for note in grid.notes:
        print(f"note: {note}")


def _packed(stage: Stage, dataset: str) -> str:
    """Say which packs of a data set a stage reads."""
    words: dict[str, str] = {}
    for use in stage.packs:
        if use.dataset == dataset:
            words[use.purpose] = f"{'packed' if use.purpose == 'training' else 'evaluated from a pack'}: {use.words}"
    return f" ({'; '.join(words.values())})" if words else ""


def _print_results(grid: Grid) -> None:
    """Regenerate the tables of the results folder, and print the sections that hold measured rows."""
    from bench.results.tables import write_tables

    written = write_tables(grid.results_dir)
    for file in written:
        if file.suffix == ".md":
            print(f"\n{file.read_text(encoding='utf-8')}")
    print("tables: " + ", ".join(str(file) for file in written))


# --------------------------------------------------------------------------------------------- results


@app.command("table")
def table_command(
    format: Annotated[TableFormat, typer.Option("--format", help="What to print.")] = TableFormat.markdown,
    check: Annotated[bool, typer.Option("--check", help="Only compare the committed tables with the records.")] = False,
    baseline: Annotated[str | None, typer.Option("--baseline", help="Row that differences are taken to.")] = None,
    resources: Annotated[
        bool, typer.Option("--resources", help="Print time and memory of each stage instead.")
    ] = False,
    results_dir: Annotated[Path, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR")] = Path("results"),
) -> None:
    """Regenerate the tables from the records, and print those of transfer, or what it cost."""
    from bench.results.tables import check_tables, pages_of, write_tables

    if resources and baseline is not None:
        raise BadInput("--baseline is of the transfer tables; leave it out with --resources.")
    if check:
        differences = check_tables(results_dir)
        for difference in differences:
            print(difference)
        if differences:
            raise StageFailed(f"{len(differences)} tables differ from what the records give; run bench table.")
        print("tables agree with the records")
        return
    transfer, costs = pages_of(results_dir, baseline)
    print((costs if resources else transfer).text(format.value))
    if baseline is None:
        write_tables(results_dir, [transfer, costs])


# ------------------------------------------------------------------------------------------- what there is


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List pretrainings, downstream tasks and objectives."""
    from bench.execute.inventory import inventory

    found = inventory()
    if as_json:
        import json

        print(json.dumps(found, indent=1))
        return
    for title, entries in found.items():
        print(title)
        width = max(map(len, entries), default=0)
        for name, summary in entries.items():
            print(f"  {name:<{width}}  {summary}")


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="A pretraining or downstream config: name or path.", metavar="NAME")],
    profile: ProfileOption = ProfileName.full,
    assignments: Assignments = [],  # noqa: B006
) -> None:
    """Show a config as it is after inheritance, profile and --set."""
    from bench.execute.inventory import resolved

    docstring, values = resolved(name, profile.value, assignments)
    print(docstring + "\n")
    _print_json(values)


def _print_json(values: dict[str, Any]) -> None:
    import json

    print(json.dumps(values, indent=1))


@data_app.command("check")
def data_check_command(
    dataset: Annotated[str, typer.Argument(help="Such as coco, imagenet, cityscapes or cifar10.", metavar="DATASET")],
    data_root: DataRoot = [],  # noqa: B006
) -> None:
    """Count a data set's files, and name those that are missing or unreadable."""
    from bench.data.check import check
    from bench.data.roots import resolve_roots

    root = resolve_roots(data_root).find(dataset)
    report = check(dataset, root)
    for line in report.lines():
        print(line)
    if not report.ok:
        raise BadInput(f"{dataset} at {root} has the problems above; mend or remove the files that are named.")


@data_app.command("pack")
def data_pack_command(
    dataset: Annotated[str, typer.Argument(help="coco, imagenet or imagenet100.", metavar="DATASET")],
    data_root: DataRoot = [],  # noqa: B006
    split: Annotated[
        list[SplitName], typer.Option("--split", help="Which splits; all, if left out.", metavar="train [val]")
    ] = [],  # noqa: B006
    short_side: Annotated[int, typer.Option("--short-side", min=32, help="Larger images are shrunk to it.")] = 256,
    format: Annotated[PackFormat, typer.Option("--format", help="How pixels are stored.")] = PackFormat.jpeg,
    quality: Annotated[int | None, typer.Option("--quality", min=1, max=100, help="Of JPEG; 90 if left out.")] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", envvar="BENCH_PACK_DIR", help="Where to; the data root, if left out.", metavar="DIR"),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one a core if left out.")] = None,
    unreadable: UnreadableOption = Unreadable.fail,
) -> None:
    """Shrink a data set's images once, into few large files that training then reads instead."""
    from bench.data.layouts import splits
    from bench.data.manifest import Form
    from bench.data.packing import pack, told
    from bench.data.roots import resolve_roots

    if quality is not None and format != PackFormat.jpeg:
        raise BadInput("--quality is of JPEG; leave it out with --format uint8.")
    form = Form(
        format=format.value, short_side=short_side, quality=(quality or 90) if format == PackFormat.jpeg else None
    )
    root = resolve_roots(data_root).find(dataset)
    for name in [part.value for part in split] or splits(dataset, root) or ["train"]:
        try:
            made, there = pack(dataset, root, name, form, to=to, workers=workers, unreadable=unreadable.value)
        except KeyboardInterrupt as error:  # which the parser would turn into an exit without a word
            raise Interrupted(f"Packing {dataset} {name} was interrupted; what was packed stays.") from error
        print(told(made, there), flush=True)
    if to is not None and os.environ.get("BENCH_PACK_DIR") != str(to):
        print(f"So that plan and run find it, set BENCH_PACK_DIR={to.absolute()}", flush=True)


@data_app.command("render")
def data_render_command(
    folder: Annotated[Path, typer.Argument(help="Where to write coco/, imagenet/, cifar10/ and so on.", metavar="DIR")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Render tiny procedural data sets in the layouts of the originals."""
    from bench.data.render import render
    from bench.execute.stage_file import make_folder

    make_folder(folder, "DIR")
    for name, place in render(folder, seed).items():
        print(f"{name:<11} {place}")


@app.command("canary")
def canary_command(
    names: Annotated[list[str], typer.Argument(help="Objectives; all, if left out.", metavar="[NAME …]")] = [],  # noqa: B006
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; one a core if left out.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Record the expected ranges anew.")] = False,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="Plant mistakes and say which are noticed.")] = False,
    work_dir: WorkDir = Path("runs"),
) -> None:
    """Train each objective for seconds on a small fixed set, and say which train otherwise than recorded."""
    from bench.canary import runs

    def report(name: str, run: Any, complaints: list[str]) -> None:
        accuracy = f"kNN {run.knn_random_percent:.0f} -> {run.knn_percent:.0f} %"
        words = "; ".join(complaints) or ("recorded" if record else "as recorded")
        print(
            f"{name:<24} loss {run.losses[0]:8.4g} -> {run.losses[-1]:8.4g}  {accuracy}  "
            f"rank {run.rank:.0f}, spread {run.std:.2f}  {run.seconds:.0f} s  {words}",
            flush=True,
        )

    def report_mistake(name: str, mistake: str, complaints: list[str]) -> None:
        print(f"{name:<20} {mistake:<26} {'; '.join(complaints) or 'NOT NOTICED'}", flush=True)

    jobs = jobs or len(os.sched_getaffinity(0))
    root = work_dir / "canary" / f"images-{runs.VERSION}"
    if mistakes:
        missed = runs.plant(names, root, jobs, report_mistake)
        print(f"not noticed: {', '.join(sorted(missed)) or 'none'}")
    elif record:
        runs.record(names, root, jobs, report)
    elif failed := runs.check(names, root, jobs, report):
        raise StageFailed(f"{len(failed)} went otherwise than recorded: {', '.join(sorted(failed))}.")


@app.command("doctor")
def doctor_command(
    data_root: DataRoot = [],  # noqa: B006
) -> None:
    """Say what this machine has: versions, devices, data, and how to get what is missing."""
    from bench.execute.doctor import diagnose

    problems = diagnose(data_root)
    if problems:
        raise StageFailed(f"{problems} of the things above are missing.")
