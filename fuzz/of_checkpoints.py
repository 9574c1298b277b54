"""Checkpoints: of a training run, trunk files, those of others, and programs that pretend to be some."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from typing import Any

import torch
from changes import any_value, of_bytes
from inputs import Input, Read, same
from torch import nn

from bench.convert.checksums import ATTACHED, KEY, save_archive
from bench.convert.dialects import load_trunk, trunk_shapes
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.train.checkpoint import FORMAT, LAST, epoch_file, read
from bench.train.distributed import Ranks
from bench.train.state import State

ARCH = "resnet18w8"
RUN = {"recipe": "coco", "arch": ARCH, "seed": 0, "epochs": 2, "steps_per_epoch": 3}


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network and its optimizer after a step."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.arange(12.0).reshape(4, 3)).square().sum().backward()
    optimizer.step()
    return module, optimizer


class TrainingStates(Input):
    """`last.ckpt` and checkpoints of epochs, damaged, and resumed from."""

    name, share = "training_state", 3

    def prepare(self) -> None:
        module, optimizer = network()
        self.content: dict[str, Any] = {
            "format": FORMAT,
            KEY: ATTACHED,
            "run": RUN,
            "step": 3,
            "objective": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "meter": {"sums": {"loss": torch.tensor(1.5, dtype=torch.float64)}, "parts": 2},
            "skipped": 0,
            "logged": {"loss": 0.5},
        }
        self.data = archive(self.content)
        short = {key: self.content[key] for key in ("format", KEY, "run", "step", "objective")} | {"epoch": 0}
        self.epoch = archive(short)
        (self.folder / epoch_file(0)).write_bytes(self.epoch)
        self.short = read(self.folder / epoch_file(0))
        (self.folder / LAST).write_bytes(self.data)
        self.whole = read(self.folder / LAST)
        self.module, self.optimizer = network()

    def case(self, draw: random.Random) -> tuple[str, bytes]:
        match draw.randrange(4):
            case 0:
                return epoch_file(0), of_bytes(draw, self.epoch, [self.data])
            case 1:  # a whole archive of other content
                content = {key: value for key, value in self.content.items() if draw.random() < 0.95}
                key = draw.choice([*content])
                content[key] = draw.choice((any_value(draw), torch.ones(2), {}, [], {"state": {}, "param_groups": []}))
                return LAST, archive(content)
            case _:
                return LAST, of_bytes(draw, self.data, [self.epoch])

    def read(self, case: tuple[str, bytes]) -> Read:
        name, data = case
        file = self.folder / name
        file.write_bytes(data)
        if data in (self.data, self.epoch):
            return "same"
        if name != LAST:
            return "same" if same(read(file), self.short) else "silent"
        whole = data.endswith(self.data[-64:]) or data[-91:-64] != self.data[-91:-64]
        state = State(self.folder, RUN, self.module, self.optimizer, Ranks())
        state.resume()
        content = read(file)
        if same(content, self.whole):
            return "same"
        return "silent" if whole else "other"  # of the archives above, whose checksum is that of their content


def archive(content: Any) -> bytes:
    """Return a content as this project writes it."""
    stream = io.BytesIO()
    save_archive(stream, content)
    return stream.getvalue()


def trunk() -> dict[str, torch.Tensor]:
    """Return a narrow trunk."""
    state = {}
    for number, (name, shape) in enumerate(trunk_shapes(ARCH).items()):
        count = max(1, torch.Size(shape).numel())
        values = torch.arange(count) % 251
        state[name] = (values if not shape else values.float() / (number + 1)).reshape(shape)
    return state


class Trunks(Input):
    """`trunk.safetensors`, whose header and tensors are a function of its hash."""

    name, share = "trunk", 1

    def prepare(self) -> None:
        save_trunk(self.folder / TRUNK, trunk(), ARCH)
        self.data = (self.folder / TRUNK).read_bytes()
        self.original = read_trunk(self.folder / TRUNK)
        self.header = 8 + int.from_bytes(self.data[:8], "little")

    def case(self, draw: random.Random) -> bytes:
        if draw.random() < 0.5:  # the header is a small part of the file
            return of_bytes(draw, self.data[: self.header]) + self.data[self.header :]
        return of_bytes(draw, self.data)

    def read(self, case: bytes) -> Read:
        (self.folder / TRUNK).write_bytes(case)
        found = read_trunk(self.folder / TRUNK)
        return "same" if found.hash == self.original.hash and same(found.state, self.original.state) else "silent"


class Foreign(Input):
    """Checkpoints that others wrote: archives with CRCs, the older form without, and safetensors."""

    name, share = "foreign", 2

    def prepare(self) -> None:
        self.original = trunk()
        content = {"state_dict": {f"module.{name}": tensor for name, tensor in self.original.items()}, "epoch": 3}
        new, old = io.BytesIO(), io.BytesIO()
        torch.save(content, new)
        torch.save(content, old, _use_new_zipfile_serialization=False)
        self.forms = (new.getvalue(), old.getvalue())
        self.file = self.folder / "foreign.pth"

    def case(self, draw: random.Random) -> tuple[bool, bytes]:
        checked = draw.random() < 0.5
        data = self.forms[not checked]
        if not checked and draw.random() < 0.7:  # the pickle comes first, and is what counts
            return False, of_bytes(draw, data[:4096]) + data[4096:]
        return checked, of_bytes(draw, data)

    def read(self, case: tuple[bool, bytes]) -> Read:
        checked, data = case
        self.file.write_bytes(data)
        found = load_trunk(self.file, ARCH)
        if same({**found}, {name: tensor.to(found[name].dtype) for name, tensor in self.original.items()}):
            return "same"
        return "silent" if checked and zipfile.is_zipfile(self.file) else "other"


_GLOBALS = (
    b"collections\nOrderedDict\n",
    b"torch._utils\n_rebuild_tensor_v2\n",
    b"torch._utils\n_rebuild_parameter\n",
    b"torch._utils\n_rebuild_sparse_tensor\n",
    b"torch._utils\n_rebuild_meta_tensor_no_storage\n",
    b"torch\nFloatStorage\n",
    b"torch\nTensor\n",
    b"torch\nSize\n",
    b"torch\ndevice\n",
    b"__builtin__\nbytearray\n",
    b"__builtin__\nset\n",
    b"_codecs\nencode\n",
    b"os\nsystem\n",
)


class Pickles(Input):
    """Archives of torch's form around pickles of random instructions, with the right CRCs."""

    name, share = "pickle", 2

    def prepare(self) -> None:
        self.file = self.folder / "pickle.pth"
        (self.folder / "check").mkdir()

    def case(self, draw: random.Random) -> bytes:
        program = b"\x80\x02" + b"".join(_instruction(draw) for _ in range(draw.choice((3, 10, 40)))) + b"."
        if draw.random() < 0.2:
            program = b"\x80\x02})" + b"\x85" * draw.choice((50, 150, 300_000)) + b"K\x01s."
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as whole:
            for name, data in (("data.pkl", program), ("version", b"3\n"), ("data/0", bytes(64))):
                whole.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
        return program if draw.random() < 0.1 else stream.getvalue()

    def read(self, case: bytes) -> Read:
        self.file.write_bytes(case)
        load_trunk(self.file, ARCH)
        return "silent"  # no such pickle has a trunk in it


def _instruction(draw: random.Random) -> bytes:
    """One instruction of a pickle, or a few that belong together."""
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\x10tQ"
    text = draw.choice((b"conv1.weight", b"state_dict", b"x", b"0"))
    match draw.randrange(12):
        case 0:
            return b"c" + draw.choice(_GLOBALS)
        case 1:
            return b"K" + bytes([draw.randrange(256)])
        case 2:
            return b"J" + struct.pack("<i", draw.choice((0, -1, 7, 2**31 - 1)))
        case 3:
            number = draw.choice((2**40, 2**62, -(2**40)))
            return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)
        case 4:
            return b"X" + struct.pack("<I", len(text)) + text
        case 5:
            return draw.choice((b"(", b"]", b"}", b")", b"N", b"\x88"))
        case 6:
            return draw.choice((b"t", b"\x85", b"\x86", b"\x87", b"R", b"\x81", b"b", b"s", b"u", b"a", b"e"))
        case 7:
            place = bytes([draw.randrange(4)])
            return draw.choice((b"q", b"h")) + place
        case 8:
            return storage
        case 9:
            shape = draw.choice((b"K\x02K\x08\x86", b"J\xff\xff\xff\x7f\x85", b")"))
            strides = draw.choice((b"K\x08K\x01\x86", b"K\x00\x85", b")"))
            rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + strides
            return rebuilt + b"\x89ccollections\nOrderedDict\n)RtR"
        case 10:
            return b"}X\x0c\0\0\0conv1.weight"
        case _:
            return draw.randbytes(1)


KINDS_OF_INPUT: tuple[type[Input], ...] = (TrainingStates, Trunks, Foreign, Pickles)
