"""The command line. Only argument parsing lives here; everything else is imported when a command needs it.

Exit codes: 0 done, 1 a stage failed, 2 bad input, 75 the given time is over and there is more to do, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench import cli_completion
from bench.cli_canary import app as canary_app
from bench.cli_cluster import Cluster, takes_cluster
from bench.cli_code import app as code_app
from bench.cli_compare import app as compare_app
from bench.cli_data import app as data_app
from bench.cli_jobs import app as jobs_app
from bench.cli_options import (
    AllocatorOption,
    App,
    Assignments,
    DataRoot,
    Detach,
    ExecutorOption,
    Gpus,
    GridGpus,
    Notify,
    PerStage,
    ResultsDir,
    Seeds,
    Smoke,
    StaleOption,
    TaskSeeds,
    TrackerOption,
    TrackerProject,
    Version,
    WorkDir,
    takes_request,
)
from bench.cli_pictures import app as pictures_app
from bench.cli_plan import app as plan_app
from bench.cli_plot import app as plot_app
from bench.cli_provenance import app as provenance_app
from bench.cli_report import app as report_app
from bench.cli_show import app as show_app
from bench.cli_stage import app as stage_app
from bench.cli_table import app as table_app
from bench.errors import BadInput, Interrupted, MoreToDo, StageFailed
from bench.execute.request import Request
from bench.import_path import working_directory_last
from bench.machine import WITHIN_GRID
from bench.printable import over_bars, printable
from bench.trackers.choice import choose

# Of the files in results/reference; reading those would make every --help slower.
STUDIES = ("deck-small", "loss2-short", "positive-control", "positive-control-photographs", "positive-control-resnet50")

app = App(
    "bench",
    "Pretrain, convert, transfer, compare: which pretraining transfers best, and can the number be believed?",
    completion=True,
)
app.add_typer(table_app)
app.add_typer(show_app)
app.add_typer(compare_app)
app.add_typer(pictures_app)
app.add_typer(report_app)
app.add_typer(plot_app)
app.add_typer(data_app)
app.add_typer(plan_app)
app.add_typer(provenance_app)
app.add_typer(code_app)
app.add_typer(stage_app)
app.add_typer(jobs_app)
app.add_typer(canary_app)


@app.callback()
def _before_commands(version: Version = False) -> None:
    """Options of no command."""


def main() -> None:
    """Run the command line and exit with its code."""
    working_directory_last()
    # Threads that wait by spinning fight with whatever else runs on the machine: a training step was 5 times slower
    # beside other jobs. OpenMP reads this when torch is imported, here or in a process we start.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a terminal that has no ± or ≈
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    # A stage that a grid started is no command to go on with: the grid's own is, which its process says.
    within = arguments[:1] == ["stage"] and os.environ.get(WITHIN_GRID)
    go_on = "" if within else f" Go on with: {shlex.join(['bench', *arguments])}"
    try:
        result = app(args=list(arguments), standalone_mode=False, prog_name="bench", obj=list(arguments))
    except (BadInput, StageFailed) as error:
        return _complain(str(error), error.exit_code)
    except (MoreToDo, Interrupted) as error:
        return _complain(f"{error}{go_on}", error.exit_code)
    except KeyboardInterrupt:
        return _complain(f"Interrupted; what was finished stays.{go_on}", Interrupted.exit_code)
    except typer.Exit as error:
        return int(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe left: `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A usage error of the parser: one sentence, without its box and without a traceback.
        if (format_message := getattr(error, "format_message", None)) is None:
            raise
        message = format_message().rstrip(".") or "No command given"
        # Words of the parser's checks.
        message = message.replace("Value error, ", "").replace("Input should be", "it should be")
        return _complain(f"{message}; bench COMMAND --help shows what there is.", BadInput.exit_code)
    # What typer makes of Ctrl-C. That leaves a view of stages, and interrupts none of them.
    if result == Interrupted.exit_code and arguments[:1] not in (["serve-stages"], ["status"]):
        return _complain(f"Interrupted; what was finished stays.{go_on}", Interrupted.exit_code)
    return result if isinstance(result, int) else 0


def _complain(message: str, code: int) -> int:
    try:
        print(f"{over_bars(sys.stderr)}bench: {printable(message)}", file=sys.stderr, flush=True)
    except OSError:  # the terminal was closed: what is left to be written would change the exit code
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return code


@app.command("run", safe=True)
@takes_request
@takes_cluster
def run_command(
    request: Request,
    context: typer.Context,
    gpus: GridGpus = 1,
    per_stage: PerStage = None,
    allocator: AllocatorOption = None,
    tracker: TrackerOption = [],  # noqa: B006
    tracker_project: TrackerProject = None,
    stale: StaleOption = "refuse",
    executor: ExecutorOption = "local",
    detach: Detach = False,
    notify: Notify = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    *,
    cluster: Cluster,
) -> None:
    """Run the grid: pretrainings × seeds × downstream tasks × task seeds. What is recorded already is skipped."""
    from bench.execute.devices import check_gpus
    from bench.execute.grid import plan_grid
    from bench.execute.jobs.executor import executor_for
    from bench.execute.jobs.submit import submit
    from bench.execute.local import run_grid
    from bench.execute.schedule import run_side_by_side
    from bench.execute.summary import summed_up

    if notify is not None and executor != "local":
        raise BadInput(
            f"--notify needs a process that sees the grid end, and --executor {executor} leaves none; leave it out and "
            "run your command after bench status --watch, or give Slurm --slurm-extra mail-type=END,FAIL."
        )
    elsewhere = executor_for(executor, context.obj, detach, cluster.told(executor, gpus, per_stage))
    check_gpus(gpus, per_stage)
    choose(tracker, tracker_project, os.environ)  # stages inherit it
    processes = per_stage or gpus  # of one stage
    if elsewhere is not None:
        processes = elsewhere.processes or processes
        elsewhere.check()
    if dry_run:
        print("\n".join(plan_grid(request, act=False, gpus=processes).lines(processes)))
        return
    if allocator is not None:
        os.environ["BENCH_ALLOCATOR"] = allocator  # stages inherit it
    grid = plan_grid(request, act=True, gpus=processes, stale=stale)
    for note in grid.notes:
        print(f"note: {note}", flush=True)
    if elsewhere is not None and grid.to_do():
        print("\n".join(submit(grid, elsewhere, request.unreadable)))
        return
    with summed_up(grid, context.obj, _commands(context), notify):
        if per_stage is None:
            run_grid(grid, gpus, request.unreadable)
        else:
            run_side_by_side(grid, gpus, per_stage, request.unreadable)
        if request.downstream:
            _print_results(grid.results_dir)


def _commands(context: typer.Context) -> list[str]:
    """The names of the commands that there are."""
    return list(getattr(context.find_root().command, "commands", {}))


@app.command("serve-stages", hidden=True)
def serve_stages_command(answers: int, modules: Annotated[list[str] | None, typer.Argument()] = None) -> int:
    """Start stages as forks of this process: what `bench run` starts on a machine without a GPU."""
    from bench.execute.stage_server import serve

    return serve(answers, modules or [], run)


@app.command("reproduce", safe=True)
def reproduce_command(
    study: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(STUDIES)}, or of a file of yours.",
            metavar="STUDY",
            autocompletion=cli_completion.one_of(STUDIES),
        ),
    ],
    only: Annotated[list[str], typer.Option("--only", help="Only these data sets.", metavar="A [B …]")] = [],  # noqa: B006
    seeds: Seeds = [0],  # noqa: B006
    task_seeds: TaskSeeds = [],  # noqa: B006
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="Stop in good order after this time; exit code 75 if more is left."),
    ] = None,
    mini: Annotated[bool, typer.Option("--mini", help="Profile mini.")] = False,
    smoke: Smoke = False,
    assignments: Assignments = [],  # noqa: B006
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
    tracker: TrackerOption = [],  # noqa: B006
    tracker_project: TrackerProject = None,
    stale: StaleOption = "refuse",
    notify: Notify = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Do all of a study, such as a published table: pretrainings in order, each measured; a second call goes on."""
    from bench.execute.devices import check_gpus
    from bench.execute.reproduce import Options, plan_study, run_study, time_unknown
    from bench.execute.summary import told

    check_gpus(gpus)
    choose(tracker, tracker_project, os.environ)
    if mini and smoke:
        raise BadInput("--mini and --smoke are two profiles; leave one out.")
    options = Options(
        seeds=seeds,
        task_seeds=task_seeds,
        only=only,
        profile="smoke" if smoke else "mini" if mini else "full",
        data_root=data_root,
        gpus=gpus,
        work_dir=work_dir,
        results_dir=results_dir,
        minutes=minutes,
        timing=timing if timing is not None else not (dry_run or smoke),
        assignments=assignments,
        stale=stale,
    )
    plan = plan_study(study, options, act=not dry_run)
    if dry_run:
        if options.timing:
            time_unknown(plan)
        print("\n".join(plan.lines()))
        return
    with told(notify, lambda status, error: [f"{study}: {status}" if error is None else f"{study}: {error}"]):
        try:
            run_study(plan)
        finally:
            _print_small_images(plan.grids[0].results_dir)


def _print_small_images(results_dir: Path) -> None:
    """Regenerate the tables, and print the sections of small images, if there is a record of any."""
    from bench.results.tables import study_sections, write_tables

    if text := study_sections(results_dir):
        print(f"\n{text}", flush=True)
        print("tables: " + ", ".join(str(file) for file in write_tables(results_dir)), flush=True)


def _print_results(results_dir: Path) -> None:
    """Regenerate the tables of the results folder, and print the sections that hold measured rows."""
    from bench.results.tables import write_tables

    written = write_tables(results_dir)
    for file in written:
        if file.suffix == ".md":
            print(f"\n{file.read_text(encoding='utf-8')}")
    print("tables: " + ", ".join(str(file) for file in written))
