"""The adapters with the libraries themselves, without a network; `make trackers` installs all of them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import fakes
import pytest
from sittings import RUN, two_sittings

from bench.trackers.choice import ADAPTERS

# All that they would reach is a port on which nobody listens.
NOWHERE = "http://127.0.0.1:9"
ALONE = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "SWANLAB_MODE": "offline",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "http_proxy": NOWHERE,
    "https_proxy": NOWHERE,
}
# name -> {step: values}, and what the store says of the run
Kept = tuple[dict[str, list[tuple[int, float]]], dict[str, str]]


def _mlflow(store: Path) -> Kept:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{store / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("grid").experiment_id])
    series = {
        name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    about = {"name": run.info.run_name, "group": run.data.tags["group"], "status": run.info.status}
    return series, about | {"epochs": run.data.params["pretrain.epochs"]}


def _trackio(store: Path) -> Kept:
    import sqlite3

    with sqlite3.connect(store / "grid.db") as database:
        rows = database.execute("select step, metrics, run_name from metrics order by id").fetchall()
        ((config,),) = database.execute("select config from configs").fetchall()
    series: dict[str, list[tuple[int, float]]] = {}
    for step, metrics, _ in rows:
        for name, value in json.loads(metrics).items():
            series.setdefault(name, []).append((step, value))
    (name,) = {row[2] for row in rows}
    said = json.loads(config)
    return series, {
        "name": name.removesuffix("-012345"),
        "group": said["_Group"],
        "epochs": str(said["pretrain.epochs"]),
    }


def _wandb(store: Path) -> Kept:
    from wandb.proto import wandb_internal_pb2

    series: dict[str, list[tuple[int, float]]] = {}
    about: dict[str, str] = {}
    for file in sorted(store.glob(f"wandb/offline-run-*-{RUN.id}/*.wandb")):
        for data in _records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                about |= {"name": record.run.display_name, "group": record.run.run_group}
                about |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
            items = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            for name in sorted(items.keys() - {"step"}):
                if not name.startswith("_"):
                    series.setdefault(name, []).append((int(items["step"]), items[name]))
    return series, about | {"epochs": str(about["pretrain.epochs"])}


def _records(content: bytes) -> list[bytes]:
    """The records of a file of W&B: LevelDB's log format, after a header of 7 bytes that the first block counts."""
    records, part, place = [], b"", 7
    while place + 7 <= len(content):
        if 32_768 - place % 32_768 < 7:  # no room for a record's header
            place += 32_768 - place % 32_768
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        part += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            records.append(part)
            part = b""
    return records


def _aim(store: Path) -> Kept:
    from aim import Repo
    from aim.cli.cli import cli_entry_point

    # What aim up does beside its pages.
    cli_entry_point(["storage", "--repo", str(store), "reindex", "--yes"], standalone_mode=False)
    (run,) = Repo.from_path(str(store)).iter_runs()
    series: dict[str, list[tuple[int, float]]] = {}
    for metric in run.metrics():
        rows = metric.dataframe().sort_values("step")
        series[metric.name] = [
            (int(step), float(value)) for step, value in zip(rows["step"], rows["value"], strict=True)
        ]
    return series, {"name": run.name, "group": run["group"], "epochs": str(run["config"]["pretrain.epochs"])}


READERS: Mapping[str, Callable[[Path], Kept]] = {"mlflow": _mlflow, "trackio": _trackio, "wandb": _wandb, "aim": _aim}


def is_there(name: str) -> bool:
    adapter = ADAPTERS[name]
    return all(importlib.util.find_spec(module) is not None for module in (*adapter.modules, *adapter.local))


NEEDED = os.environ.get("BENCH_NEEDS_TRACKERS", "").split()
# Those whose libraries are installed, or must be; make trackers installs each of them.
TRIED = [name for name in ADAPTERS if name in NEEDED or is_there(name)]


def in_a_process(code: str, *words: str) -> str:
    """Run code in a process of its own, as adapters run, without a network; return what it printed last."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")} | ALONE
    environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout.splitlines() or [""])[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_a_library_keeps_what_it_is_given(name: str, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from sittings import two_sittings; "
    in_a_process(code + "two_sittings(sys.argv[1], Path(sys.argv[2]))", name, str(tmp_path / "store"))
    if name not in READERS:  # SwanLab's form is its own
        assert len(list((tmp_path / "store").glob("run-*/run-*.swanlab"))) == 2  # offline each sitting is a run
        return
    read = "import json, sys; from pathlib import Path; from test_real_trackers import READERS; "
    said = in_a_process(
        read + "print(json.dumps(READERS[sys.argv[1]](Path(sys.argv[2]))))", name, str(tmp_path / "store")
    )
    series, about = json.loads(said)
    assert series["loss"] == [[1, 1.0], [2, 0.5], [3, pytest.approx(1 / 3)]]
    assert series["iou/traffic light"] == [[1, 2.0], [2, 4.0], [3, 6.0]]
    assert (about["name"], about["group"], about["epochs"]) == (RUN.name, "coco", "2")
    if name == "mlflow":
        assert about["status"] == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_a_library_takes_the_calls_that_its_stand_in_noted(name: str, tmp_path: Path) -> None:
    in_a_process(
        "import sys; from test_real_trackers import compare; compare(sys.argv[1], sys.argv[2])", name, str(tmp_path)
    )


def compare(name: str, store: str) -> None:
    """Bind what the stand-in noted to the signatures of the library."""
    with pytest.MonkeyPatch.context() as patch:
        calls = fakes.FAKES[name](patch)
        two_sittings(name, Path(store))
    import_module(name)
    assert calls.all
    for call, words, more in calls.all:
        if call.endswith("[]"):
            continue
        signature = inspect.signature(_named(call))
        itself = (None,) if next(iter(signature.parameters), "") == "self" else ()  # of a method, or what wraps one
        signature.bind(*itself, *words, **more)


def _named(call: str) -> Any:
    """What a noted name means in the library."""
    parts = call.split(".")
    thing: Any = import_module(parts[0])
    for part in parts[1:]:
        try:
            thing = getattr(thing, part)
        except AttributeError:
            thing = import_module(f"{thing.__name__}.{part}")
    return thing
