"""This machine, as far as it decides how long a stage takes: what records and timings are compared by."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.plan import Stage
from bench.record import Hardware, Record, environment


@dataclass(frozen=True)
class Machine:
    """Its processor, how many cores of it may be used, its GPUs, and what `auto` means as a precision on it."""

    cpu: str
    cores: int
    gpus: tuple[str, ...] = ()
    auto: str = "float32"

    @property
    def words(self) -> str:
        """For people, and as a key."""
        return ", ".join([f"{self.cpu}, {self.cores} cores", *self.gpus])

    def made(self, record: Record) -> bool:
        """Whether a record was made on such a machine."""
        hardware: Hardware | None = record.hardware
        return hardware is not None and (hardware.cpu, hardware.cores, hardware.gpus) == (
            self.cpu,
            self.cores,
            self.gpus,
        )

    def precisions(self, config: Recipe | Task) -> dict[str, str]:
        """Return the settings of a config that name a precision, with what `auto` is here."""
        names = ("precision", "evaluation_precision", "search")
        values = {name: getattr(config, name, None) for name in names}
        return {name: self.auto if value == "auto" else value for name, value in values.items() if value is not None}


def this_machine() -> Machine:
    """Return the machine that this process runs on. Imports torch."""
    import torch

    from bench.train.precision import automatic, this_device

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    hardware = environment()["hardware"]
    gpus = tuple(torch.cuda.get_device_name(number) for number in range(count))
    return Machine(hardware.cpu, hardware.cores, gpus, automatic(this_device()))


def several(stage: Stage, gpus: int) -> bool:
    """Whether a stage runs in several processes."""
    from bench.config.tasks import stage_kind

    return gpus > 1 and stage_kind(stage.kind, stage.config).several_gpus
