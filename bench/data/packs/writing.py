"""Writing packs (`bench data pack`): where a pack is put, and that it is of one state of its data."""

from __future__ import annotations

import errno
from pathlib import Path

from filelock import FileLock, Timeout

from bench.data.packs.manifest import FOLDER, MANIFEST, VARIABLE, Form, folder_name
from bench.data.packs.reading import Pack, open_pack
from bench.data.packs.unfinished import Unreadable, Writer
from bench.data.sets import DATA_SETS, fingerprint, get, index
from bench.data.sets.sharded import refuse_shards
from bench.errors import BadInput
from bench.machine import cores
from bench.storage import size_words

FEW = 1024  # images for which starting processes would take longer than packing


def pack(
    dataset: str,
    root: Path,
    split: str,
    form: Form,
    *,
    to: Path | None = None,
    workers: int | None = None,
    unreadable: Unreadable = "fail",
) -> tuple[Pack, bool]:
    """Pack a split, or finish what an interrupted packing left; return the pack, and whether it was there already.

    Args:
        to: the folder that packs lie in; None: `.bench-pack` in the root.
        workers: processes that decode; None: one a core, or none for few images. The bytes do not depend on it.
        unreadable: an image that cannot be read raises BadInput that names it (`fail`), or keeps its position and is
            unreadable in the pack, too (`skip`).

    Raises BadInput for wrong data, a folder that cannot be written, too small a disk, or data that change meanwhile.
    """
    names = index(dataset, root, split).files
    data_set = get(dataset)
    if data_set.one_size:
        raise BadInput(f"{dataset}'s images are small already, and no pack is read for them; train without one.")
    if dataset != data_set.name:  # no plan looks for it
        raise BadInput(f"Only a data set that has a name can be packed; give {data_set.name} an entry point.")
    if not data_set.packable:
        packable = ", ".join(name for name, one in DATA_SETS.items() if one.packable)
        raise BadInput(f"{dataset} is read at full size and cannot be packed; packs are made of {packable}.")
    refuse_shards(data_set, root, "packs are made of files")
    place = (to or root / FOLDER).absolute()
    known = place / ".fingerprints.json"
    try:
        place.mkdir(parents=True, exist_ok=True)  # before the fingerprint's cache notes when the root last changed
        mark = fingerprint(dataset, root, known)
        folder = place / folder_name(dataset, mark, form) / split
        folder.parent.mkdir(exist_ok=True)
        lock = FileLock(folder.parent / f".{split}.lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise BadInput(f"{folder} is being packed by another process; wait for it.") from None
    except OSError as error:
        raise BadInput(
            f"Cannot write to {place} ({error.strerror}); correct its permissions, or give --to DIR and set "
            f"{VARIABLE} to the same, so that the pack is found."
        ) from error
    try:
        if (folder / MANIFEST).is_file():
            try:
                return open_pack(folder, fingerprint=mark), True
            except BadInput as error:
                print(f"{error} Packing again.", flush=True)
        if workers is None:
            workers = cores() if len(names) >= FEW else 1
        with Writer(folder, dataset, split, mark, form, root, names) as writer:
            writer.write(workers, unreadable)
            if fingerprint(dataset, root) != mark:  # of all files, whatever the cache says
                known.unlink(missing_ok=True)
                raise BadInput(f"{dataset} at {root} changed while it was packed; start again when it is at rest.")
            writer.finish()
        return open_pack(folder, fingerprint=mark), False
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        raise BadInput(
            f"Cannot write to {folder.parent} ({error.strerror}); what was packed stays: make room and start again, "
            "or give --to DIR."
        ) from error
    finally:
        lock.release()


def summary(pack: Pack, there: bool) -> str:
    """Return in one line what was packed."""
    manifest = pack.manifest
    twins = manifest.images - len(manifest.unreadable) - manifest.stored
    parts = [f"{manifest.images} images", size_words(sum(manifest.data_bytes)), manifest.form.words]
    parts += [f"{twins} equal to others"] if twins else []
    parts += [f"{len(manifest.unreadable)} unreadable"] if manifest.unreadable else []
    return (
        f"{manifest.dataset} {manifest.split}: {'is there' if there else 'packed'}, {', '.join(parts)}: {pack.folder}"
    )
