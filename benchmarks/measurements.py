"""What a measurement leaves behind: one JSON file with all raw samples, in results/benchmarks/ by class of machine.

Three kinds: a comparison (contenders with their samples), a growth curve (samples at several sizes) and figures that
are no speeds. Of the last two there are results, and no comparison makes more of them.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BadInput
from bench.processor import MachineClass, features, limits, machine_class
from bench.record import environment

ROOT = Path(__file__).resolve().parent.parent
# `make peers` makes it; BENCHMARKS_PEERS names another folder.
PEERS = Path(os.environ.get("BENCHMARKS_PEERS") or ROOT / ".venv-peers") / "bin" / "python"
# A contender whose name begins so is a peer, whichever environment it runs in: mmseg runs in this project's.
PEER_NAMES = ("lightly", "solo-learn", "mmseg", "torchvision")
PEER_VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "names = {'lightly', 'solo-learn', 'torch', 'torchvision', 'pytorch-lightning', 'pillow', 'numpy',\n"
    "         'albumentations', 'kornia', 'nvidia-dali-cuda130', 'opencv-python-headless'}\n"
    "installed = m.distributions(path=[*sys.path, sys.prefix + '/sololearn'])\n"
    "print(json.dumps(dict(sorted((d.name.lower(), d.version) for d in installed if d.name.lower() in names))))"
)
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Open(BaseModel):
    """What a file must have; it may hold further facts."""

    model_config = ConfigDict(extra="ignore")


class Sample(_Open):
    """One measurement: the seconds that `units` took."""

    seconds: Positive
    units: Positive

    @property
    def rate(self) -> float:
        return self.units / self.seconds


class Measured(_Open):
    """One contender, with its samples in the order of the rounds.

    `ready_seconds` is from the start of its process to the end of its warm-up, `peak_device_mib` the memory of a GPU
    that torch has handed out.
    """

    about: str = ""
    peer: bool = False
    arguments: dict[str, Any] = {}
    threads: int | None = None
    samples: Annotated[list[Sample], Field(min_length=1)] = []
    ready_seconds: NotNegative
    peak_mib: NotNegative = 0.0
    peak_device_mib: NotNegative = 0.0


class Git(_Open):
    commit: str | None = None
    dirty: bool | None = None


class Hardware(_Open):
    cpu: str
    cores: int
    memory_gib: float
    # Of the processor; older files call it bf16. And the environment variables that leave some of them unused.
    features: str = Field(default="", validation_alias=AliasChoices("features", "bf16"))
    limits: dict[str, str] = {}


class Taken(_Open):
    """When, where and with what."""

    date: str
    git: Git
    hardware: Hardware
    versions: dict[str, str | None] = {}
    peer_versions: dict[str, str | None] = {}


class Check(_Open):
    """A goal that is no ratio to the baseline or the best peer."""

    what: str
    value: NotNegative = Field(validation_alias=AliasChoices("value", "found"))
    goal: Positive
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal


class Measurement(_Open):
    """What all files have."""

    benchmark: str
    title: str
    notes: list[str] = []
    taken: Taken
    device: dict[str, str | int | float | None] = {}  # of a GPU
    checks: list[Check] = []

    @property
    def gpu(self) -> str | None:
        """The name of the GPU that did the work."""
        name = self.device.get("device")
        return None if name in (None, "cpu") else str(name)

    @property
    def machine(self) -> MachineClass:
        """The class of machine that it speaks of."""
        return machine_class(self.taken.hardware.features.split(), self.taken.hardware.limits, self.gpu)


class Compared(Measurement):
    """Contenders measured in turn."""

    unit: str
    baseline: str
    goals: dict[str, Positive] = {}
    goals_best_peer: dict[str, Positive] = {}
    contenders: dict[str, Measured] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> Compared:
        for name in (self.baseline, *self.goals, *self.goals_best_peer):
            if name not in self.contenders:
                raise ValueError(f"there is no contender {name!r}")
        if len({len(one.samples) for one in self.contenders.values()}) > 1:
            raise ValueError("contenders differ in their number of samples, so that there are no whole rounds")
        return self

    def rates(self) -> pd.DataFrame:
        """Return units a second: a row for each round, a column for each contender."""
        return pd.DataFrame({name: [sample.rate for sample in one.samples] for name, one in self.contenders.items()})

    def is_peer(self, name: str) -> bool:
        """Whether a contender is a peer, by its environment or by its name."""
        return self.contenders[name].peer or name.lower().startswith(PEER_NAMES)

    def best_peer(self) -> str | None:
        """Return the peer with the highest median rate; None where no contender is a peer."""
        medians = self.rates().median()[[name for name in self.contenders if self.is_peer(name)]]
        return None if medians.empty else str(medians.idxmax())


class Point(_Open):
    """The samples at one size."""

    x: float
    samples: list[Sample] = Field(min_length=1)


class Axes(_Open):
    """What grows with what: `y` is "seconds" (of a sample) or a rate such as "images/s"."""

    x: str
    y: str = "seconds"
    series: dict[str, Annotated[list[Point], Field(min_length=1)]] = Field(min_length=1)

    def heights(self) -> pd.DataFrame:
        """Return medians over the samples: a row for each size, a column for each series."""
        value = (lambda sample: sample.rate) if self.y.endswith("/s") else (lambda sample: sample.seconds)
        columns = {
            name: {point.x: statistics.median(map(value, point.samples)) for point in points}
            for name, points in self.series.items()
        }
        return pd.DataFrame(columns).sort_index()


class Curve(Measurement):
    """Growth: samples at several sizes."""

    curve: Axes


class Figures(Measurement):
    """Figures that are no speeds: by row and column; None where there is none."""

    figures: dict[str, dict[str, float | None]] = Field(min_length=1)


def read(file: Path) -> Measurement:
    """Read one file. Raises BadInput, which says what is wrong with it and the remedy."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        kinds: dict[str, type[Measurement]] = {"curve": Curve, "figures": Figures}
        key = next((key for key in kinds if isinstance(content, dict) and key in content), "")
        measurement = kinds.get(key, Compared).model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
    except (OSError, ValueError) as error:
        reason = str(error)
    else:
        machine = measurement.machine.name
        if measurement.benchmark == file.stem and machine == file.parent.name:
            return measurement
        if measurement.benchmark == file.stem:
            raise BadInput(f"{file} was measured on a machine of the class {machine}; move it to a folder {machine}.")
        reason = f"it holds the benchmark {measurement.benchmark!r}"
    raise BadInput(f"{file} is not a benchmark that this version reads ({reason}); measure it anew, or delete it.")


class Exponent(NamedTuple):
    """b of y = a·x^b with its standard error (None for two points, which a line fits without any)."""

    b: float
    error: float | None

    def __str__(self) -> str:
        return f"{self.b:.2f}" if self.error is None else f"{self.b:.2f} ± {self.error:.2f}"

    def certainly_above(self, bound: float) -> bool:
        """Whether it is above by more than two standard errors."""
        return self.error is not None and self.b - 2 * self.error > bound


def exponent(heights: pd.Series) -> Exponent | None:
    """Fit by least squares on logarithms; None with fewer than two sizes above 0, which has no logarithm."""
    points = heights.dropna()
    points = points[points.index > 0]
    if len(points) < 2:
        return None
    x, y = np.log(points.index.to_numpy(float)), np.log(points.to_numpy(float))
    x, y = x - x.mean(), y - y.mean()
    slope = (x * y).sum() / (x**2).sum()
    error = np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - 2) / (x**2).sum()) if len(x) > 2 else None
    return Exponent(float(slope), None if error is None else float(error))


# ---------------------------------------------------------------------------------------------- writing


def taken() -> dict[str, Any]:
    """Return when, where and with what something was measured."""
    here = environment()
    peers: dict[str, str] = {}
    if PEERS.exists():
        done = subprocess.run([str(PEERS), "-c", PEER_VERSIONS], capture_output=True, text=True, check=True)
        peers = json.loads(done.stdout)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": here["git"].model_dump(),
        "hardware": here["hardware"].model_dump() | {"features": " ".join(features()), "limits": limits()},
        "versions": here["versions"],
        "peer_versions": peers,
    }


def without_machine(value: Any) -> Any:
    """Return JSON-able values with paths relative to this project, and of paths elsewhere the name alone."""
    if isinstance(value, Mapping):
        return {key: without_machine(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_machine(one) for one in value]
    if isinstance(value, str) and Path(value).is_absolute():
        path = Path(value)
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    return value


def save(measurement: Measurement, folder: Path) -> Path:
    """Write one file whole, below `folder` where the class of its machine has its files."""
    folder = folder / measurement.machine.name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{measurement.benchmark}.json"
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(measurement.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(file)
    return file
