"""What a pack says of itself, which packs a data set has, and which of them may be read for what.

A pack holds the images of one split, shrunk, in few large files, which `writing` writes and `reading` reads. It lies
in DIR/<data set>-<8 digits of the data's fingerprint>-<form>/<split>/, where DIR is `.bench-pack` in the data root
(hidden, so that no layout and no fingerprint has it) or what `BENCH_PACK_DIR` names. A folder is a pack once it has
that name: while it is written, it is called <split>.partial.

Planning imports this module, so that it imports neither torch nor numpy, and an image library only when it must.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BadInput

VARIABLE = "BENCH_PACK_DIR"
FOLDER = ".bench-pack"
MANIFEST, INDEX, NAMES = "manifest.json", "index.bin", "names.npy"
PARTIAL = ".partial"

Format = Literal["jpeg", "uint8"]
Purpose = Literal["training", "evaluation"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Form(_Frozen):
    """How images are stored: the short side shrunk to `short_side` pixels (never enlarged), as JPEG or as raw uint8."""

    format: Format = "jpeg"
    short_side: int = Field(default=256, gt=0)
    quality: int | None = Field(default=90, ge=1, le=100)  # of JPEG; None for uint8

    @property
    def name(self) -> str:
        """As it stands in a folder's name: `jpeg-256-q90`."""
        return f"{self.format}-{self.short_side}" + (f"-q{self.quality}" if self.quality is not None else "")

    @property
    def words(self) -> str:
        """As a person reads it: `jpeg, short side 256, q90`."""
        return f"{self.format}, short side {self.short_side}" + (f", q{self.quality}" if self.quality else "")


class Manifest(_Frozen):
    """The content of `manifest.json`.

    `digest` follows from the rest, which holds the hash of the index, which holds the checksum of every record: two
    packs with the same digest hold the same bytes.
    """

    version: Literal[1] = 1
    dataset: str
    split: str
    fingerprint: str  # of the data set when it was packed
    form: Form
    images: int  # of the split, unreadable ones included
    stored: int  # records; equal files share one
    unreadable: dict[int, str]  # position -> why
    data_bytes: tuple[int, ...]  # of each data file
    index_sha256: str
    names_sha256: str
    digest: str = ""
    decoders: str = ""  # the libraries that decoded the originals; no part of the digest

    @property
    def identity(self) -> str:
        """What a fingerprint says of a pack: `jpeg-256-q90-0123456789ab`."""
        return f"{self.form.name}-{self.digest[:12]}"

    def sealed(self) -> Manifest:
        """Return it with the digest that its content has."""
        content = self.model_dump(mode="json", exclude={"digest", "decoders"})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return self.model_copy(update={"digest": hashlib.sha256(text.encode()).hexdigest()})


class PackUse(_Frozen):
    """That a stage reads a pack: what planning decided, and the stage's process keeps to."""

    purpose: Purpose
    dataset: str
    split: str
    folder: str
    identity: str
    words: str


@dataclass(frozen=True)
class StoredPack:
    """A whole pack and where it lies."""

    folder: Path
    manifest: Manifest

    def use(self, purpose: Purpose) -> PackUse:
        """Return the decision to read it."""
        manifest = self.manifest
        return PackUse(
            purpose=purpose,
            dataset=manifest.dataset,
            split=manifest.split,
            folder=str(self.folder.absolute()),
            identity=manifest.identity,
            words=manifest.form.words,
        )


def data_file(number: int) -> str:
    """Return the name of a data file."""
    return f"data-{number:05d}.bin"


def decoders() -> str:
    """Return which libraries decode images here: the same file may give other pixels with others."""
    import PIL
    from PIL import features

    libraries = ((name, features.version(name)) for name in ("jpg", "libjpeg_turbo", "webp", "libtiff"))
    return " ".join([f"pillow {PIL.__version__}", *(f"{name} {version}" for name, version in libraries if version)])


def read_manifest(folder: Path) -> Manifest:
    """Read a pack's manifest and check it and the sizes of all files against it.

    Raises BadInput, with the remedy, for whatever is wrong.
    """
    file = folder / MANIFEST
    remedy = f"remove {folder} and pack again"
    try:
        manifest = Manifest.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise BadInput(f"{file} is no manifest of this version of bench; {remedy}.") from error
    except OSError as error:
        raise BadInput(
            f"{folder} holds no pack ({MANIFEST}: {error.strerror}); make one with bench data pack."
        ) from error
    if manifest.sealed().digest != manifest.digest:
        raise BadInput(f"{file} was changed after it was written; {remedy}.")
    for number, size in enumerate(manifest.data_bytes):
        part = folder / data_file(number)
        there = part.stat().st_size if part.is_file() else None
        if there != size:
            state = "is missing" if there is None else f"has {there} bytes instead of {size}"
            raise BadInput(f"{part} {state}; {remedy}.")
    return manifest


def places(root: Path, environ: Mapping[str, str] | None = None) -> list[Path]:
    """Return the folders in which packs of the data at `root` may lie, best first."""
    given = (os.environ if environ is None else environ).get(VARIABLE)
    return [*([Path(given).expanduser().absolute()] if given else []), root / FOLDER]


def folder_name(dataset: str, fingerprint: str, form: Form) -> str:
    """Return the name of the folder that holds the packs of a data set's splits."""
    return f"{dataset}-{fingerprint[:8]}-{form.name}"


def find_packs(
    dataset: str, root: Path, fingerprint: str, environ: Mapping[str, str] | None = None
) -> tuple[list[StoredPack], list[str]]:
    """Return the whole packs of a data set as it is now, and a sentence on each other one that lies there.

    A pack of another state of the data is refused, as is one that is unfinished or damaged. Only manifests and sizes of
    files are looked at.
    """
    whole: list[StoredPack] = []
    refused: list[str] = []
    for place in places(root, environ):
        for folder in _folders(place, f"{dataset}-"):
            if not folder.name.startswith(f"{dataset}-{fingerprint[:8]}-"):
                if place == root / FOLDER:  # elsewhere it may be of other data of that name
                    refused.append(f"{folder} was made of another state of {dataset} and is not used; remove it.")
                continue
            for split in _folders(folder):
                if split.name.endswith(PARTIAL):
                    refused.append(f"{split} is unfinished and is not used; bench data pack finishes it.")
                    continue
                try:
                    manifest = read_manifest(split)
                    check_fingerprint(split, manifest, fingerprint)
                except BadInput as error:
                    refused.append(f"Not used: {error}")
                else:
                    whole.append(StoredPack(split, manifest))
    return whole, refused


def check_fingerprint(folder: Path, manifest: Manifest, fingerprint: str) -> None:
    """Raise BadInput when a pack was made of another state of its data set."""
    if manifest.fingerprint != fingerprint:
        raise BadInput(
            f"{folder} was made of another state of {manifest.dataset} (then {manifest.fingerprint}, now "
            f"{fingerprint}); remove it and pack again."
        )


def _folders(place: Path, start: str = "") -> list[Path]:
    try:
        with os.scandir(place) as entries:
            names = sorted(e.name for e in entries if e.name.startswith(start) and e.is_dir() and e.name[0] != ".")
    except OSError:  # there is none
        return []
    return [place / name for name in names]


def training_pack(packs: Iterable[StoredPack], size: int) -> StoredPack | None:
    """Return the pack that training views of `size` pixels are drawn from: raw before JPEG, then the larger one.

    None where none has a short side of at least `size`.
    """

    def rank(one: StoredPack) -> tuple[bool, int, int]:
        form = one.manifest.form
        return form.format == "uint8", form.short_side, form.quality or 0

    fitting = [one for one in packs if one.manifest.split == "train" and one.manifest.form.short_side >= size]
    return max(fitting, key=rank, default=None)


def evaluation_packs(packs: Sequence[StoredPack], resize: int) -> list[StoredPack]:
    """Return, for each split, the pack that gives an evaluation the very bits that the originals give, if there is one.

    It holds raw pixels, shrunk to the side that the evaluation resizes to (bilinearly, as it does), decoded by the
    libraries that are here now.
    """
    same: dict[str, StoredPack] = {}
    for one in packs:
        form = one.manifest.form
        if form.format == "uint8" and form.short_side == resize and one.manifest.decoders == decoders():
            same.setdefault(one.manifest.split, one)
    return list(same.values())
