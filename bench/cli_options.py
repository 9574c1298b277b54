"""What commands share: their options, those of a request as one, and options that take several values.

Only light things are imported here, so that `bench --help` is quick.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from bench import __version__, cli_completion
from bench.errors import BadInput
from bench.execute.request import Request
from bench.safe_mode import safe_mode
from bench.trackers.choice import CHOICES


def seed(word: str | int, option: str) -> int:
    """Return the seed that a word after an option says. Raises BadInput with the form that is read."""
    if not re.fullmatch(r"-?\d+", str(word)):  # a default is a number already
        raise BadInput(f"{option} takes whole numbers, or ranges of them, not {word!r}; write {option} 0 1 2, or 0-2.")
    return int(word)


SEEDS, TASK_SEEDS = "--seeds", "--task-seeds"


def _seed(word: str | int) -> int:
    return seed(word, SEEDS)


def _task_seed(word: str | int) -> int:
    return seed(word, TASK_SEEDS)


Seeds = Annotated[
    list[int],
    typer.Option(
        SEEDS,
        help="Seeds of pretrainings, and of tasks without --task-seeds; 0-2 is 0 1 2.",
        metavar="0 [1 …]",
        parser=_seed,
    ),
]
TaskSeeds = Annotated[
    list[int],
    typer.Option(
        TASK_SEEDS,
        help="Seeds of tasks: each trunk is measured once for each.",
        metavar="0 [1 …]",
        parser=_task_seed,
        show_default="that of the pretraining",
    ),
]
Assignments = Annotated[
    list[str], typer.Option("--set", help="Values laid over the configs, e.g. epochs=2.", metavar="KEY=VALUE")
]
DataRoot = Annotated[
    list[str], typer.Option("--data-root", help="coco=DIR cityscapes=DIR …, or one parent folder.", metavar="NAME=DIR")
]
ProfileOption = Annotated[
    Literal["full", "mini", "smoke"], typer.Option("--profile", help="The schedule: a named overlay in the configs.")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="Profile smoke, on scenes rendered here (no data needed).")]
WorkDir = Annotated[
    Path, typer.Option("--work-dir", envvar="BENCH_WORK_DIR", help="Where stages keep their files.", metavar="DIR")
]
ResultsDir = Annotated[
    Path | None, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR", help="Records and tables.", metavar="DIR")
]
RecordsDir = Annotated[
    Path, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR", help="Where records are.", metavar="DIR")
]
WorkDirs = Annotated[
    list[Path],
    typer.Option(
        "--work-dir",
        envvar="BENCH_WORK_DIR",
        help="Where stages keep their files, logs and pictures.",
        metavar="DIR [DIR …]",
        show_default="runs, if it is there",
    ),
]
Gpus = Annotated[int, typer.Option("--gpus", min=1, help="Processes a stage: one a GPU; gloo processes on a CPU.")]
GridGpus = Annotated[
    int, typer.Option("--gpus", min=1, help="GPUs (without CUDA, processes) in all; each stage has all of them.")
]
PerStage = Annotated[
    int | None,
    typer.Option(
        "--per-stage",
        min=1,
        help="GPUs a stage: stages run side by side, as many as --gpus has room for, each with a log of its own.",
        show_default="all of --gpus, one stage after another",
    ),
]
StaleOption = Annotated[
    Literal["refuse", "keep", "redo"],
    typer.Option("--stale", help="What to do with what other code has made: take it, or make it anew (old ones stay)."),
]
AllocatorOption = Annotated[
    Literal["auto", "default", "jemalloc"] | None,
    typer.Option("--allocator", help="The stages' C allocator; BENCH_ALLOCATOR says the same.", show_default="auto"),
]
TrackerOption = Annotated[
    list[str],
    typer.Option(
        "--tracker",
        help="Where scores are shown: tensorboard, wandb, mlflow, trackio, aim, swanlab, none, or module:Class. "
        "BENCH_TRACKER says the same.",
        metavar="A [B …]",
        show_default="tensorboard",
        autocompletion=cli_completion.one_of(CHOICES),
    ),
]
TrackerProject = Annotated[
    str | None,
    typer.Option(
        "--tracker-project",
        help="The trackers' project; BENCH_TRACKER_PROJECT says the same.",
        metavar="NAME",
        show_default="bench",
    ),
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", help="Who runs the stages: local, slurm, or a plug-in's name.", metavar="NAME")
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Go on after the shell is closed; bench status says how it gets on.")
]
Notify = Annotated[
    str | None,
    typer.Option(
        "--notify",
        help="Command of the shell to run at the end, however that comes; it gets BENCH_NOTIFY_STATUS and a summary.",
        metavar="CMD",
    ),
]
UnreadableOption = Annotated[
    Literal["fail", "skip"], typer.Option("--unreadable", help="What to do with an unreadable image.")
]
SafeOption = Annotated[
    bool,
    typer.Option("--safe", help="Read configs as plain data, run no code that they name; BENCH_SAFE=1 says so, too."),
]

MOST_SEEDS = 1000  # that a range may mean


def _print_version(asked: bool) -> None:
    if asked:
        print(f"bench {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
]

# The option of each field of a request.
REQUEST: dict[str, Any] = {
    "pretrain": Annotated[
        list[str],
        typer.Option(
            "--pretrain",
            help="Pretraining configs: names or paths. A config in Python is run when it is read, unless --safe.",
            metavar="A [B …]",
            autocompletion=cli_completion.pretrainings,
        ),
    ],
    "downstream": Annotated[
        list[str],
        typer.Option(
            "--downstream",
            help="Downstream configs: names, paths, mmseg configs; run when they are read, too.",
            metavar="X [Y …]",
            autocompletion=cli_completion.tasks,
        ),
    ],
    "seeds": Seeds,
    "task_seeds": TaskSeeds,
    "profile": ProfileOption,
    "smoke": Smoke,
    "assignments": Assignments,
    "sweep": Annotated[
        list[str],
        typer.Option(
            "--sweep",
            help="Each pretraining once for every value, e.g. objective.temperature=0.1,0.2; several: every "
            "combination.",
            metavar="KEY=V,V",
        ),
    ],
    "data_root": DataRoot,
    "work_dir": WorkDir,
    "results_dir": ResultsDir,
    "unreadable": UnreadableOption,
}


def _with_ranges(words: list[str]) -> list[str]:
    """Words of a command line with a range of seeds written out: `--seeds 0-2`, `--seeds=0-2`."""
    written: list[str] = []
    option = ""
    for word in words:
        option = word.partition("=")[0] if word.startswith("-") else option
        found = re.fullmatch(r"(--(?:task-)?seeds=)?(\d+)-(\d+)", word) if option in {SEEDS, TASK_SEEDS} else None
        if found is None:
            written.append(word)
            continue
        first, last = int(found[2]), int(found[3])
        if last < first or last - first >= MOST_SEEDS:
            raise BadInput(
                f"{option} {word.removeprefix(f'{option}=')} is no range of at most {MOST_SEEDS} seeds; correct it."
            )
        written += [f"{found[1] or ''}{number}" for number in range(first, last + 1)]
    return written


_OPTION = "bench.option"  # in a context: the option of several values that a next word would belong to


class Command(TyperCommand):
    """A command whose options of several values take them one after another, too: `--seeds 0 1 2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name; the parser's own form is `--seeds 0 --seeds 1`."""
        several = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        words: list[str] = []
        option = None  # that the words which follow belong to
        for word in _with_ranges(args):
            if word.startswith("-"):
                option = word if word in several else None
            elif option is not None and words[-1] != option:
                words.append(option)
            words.append(word)
        ctx.meta[_OPTION] = option
        return super().parse_args(ctx, words)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete a second value after an option of several, too: `--pretrain coco <Tab>`."""
        for option in self.params:
            if ctx.meta.get(_OPTION) in option.opts and not incomplete.startswith("-"):
                return option.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


class App(typer.Typer):
    """A group of such commands."""

    def __init__(self, name: str | None = None, help: str | None = None, completion: bool = False) -> None:
        super().__init__(
            name=name, help=help, no_args_is_help=True, add_completion=completion, pretty_exceptions_enable=False
        )

    def command(self, name: str | None = None, *, safe: bool = False, **more: Any) -> Callable[[Any], Any]:
        """Register a function as a command; with `safe` it has the option --safe."""
        register = super().command(name, cls=Command, **more)
        return (lambda command: register(_may_be_safe(command))) if safe else register


def _may_be_safe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --safe, by which all of it is in safe mode."""
    signature = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    given = [each.replace(kind=keyword) for each in signature.parameters.values()]
    given.append(inspect.Parameter("safe", keyword, default=False, annotation=SafeOption))

    @functools.wraps(command)
    def safely(safe: bool, **values: Any) -> None:
        with safe_mode() if safe else nullcontext():
            command(**values)

    safely.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    safely.__annotations__ = {each.name: each.annotation for each in given}
    return safely


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a request in the place of its first parameter, which is then the `Request`."""
    _, *others = inspect.signature(command, eval_str=True).parameters.values()
    keyword, options = inspect.Parameter.KEYWORD_ONLY, []
    for field in fields(Request):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        default = list(default) if isinstance(default, tuple) else default
        options.append(inspect.Parameter(field.name, keyword, default=default, annotation=REQUEST[field.name]))
    given = [*options, *(each.replace(kind=keyword) for each in others)]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        request = Request(**{option.name: values.pop(option.name) for option in options})
        command(request, **values)

    with_options.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in given}
    return with_options
