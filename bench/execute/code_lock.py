"""The units of the lock of the code: each kind of stage, each objective, each data set, with its version."""

from __future__ import annotations

from collections.abc import Mapping

from bench.code.digests import Digests
from bench.code.lock import Lock, Moved, Unit, moved, read
from bench.code.same import Entry, mapping
from bench.config.code_of import CodeOf, roots_of
from bench.config.kinds import STEPS
from bench.config.objective_source import definition_of, locate, objectives
from bench.config.tasks import KINDS
from bench.data.sets import DATA_SETS
from bench.errors import BadInput
from bench.hashing import VIEW_VERSIONS

# Back end of views -> where its code lies, which its version in VIEW_VERSIONS accounts for.
OF_VIEWS = {"fast": "bench.data.views.opencv:", "device": "bench.data.views.device:"}


def units_of(code: CodeOf) -> dict[str, Unit]:
    """Return {unit: its code and version}: kinds by their names, `objective byol`, `data coco`."""
    names = [*STEPS, *KINDS, *(f"objective {name}" for name in objectives()), *(f"data {name}" for name in DATA_SETS)]
    units = {name: unit_of(code, name) for name in names}
    code.kept.save()
    return units


def unit_of(code: CodeOf, unit: str) -> Unit:
    """Return the code and the version of one unit."""
    kinds = {**STEPS, **KINDS}
    if unit in kinds:
        return Unit(
            kinds[unit].version, code.digests.of([code.node(root) for root in roots_of(kinds[unit], None, "none")])
        )
    training = [code.node(root) for root in roots_of(STEPS["pretrain"], None, "none")]
    what, _, name = unit.partition(" ")
    if what == "objective":
        source = locate(name)
        assert source.module is not None
        version, root = definition_of(name), (source.module, source.attribute)
    else:
        data_set = type(DATA_SETS[name])
        version, root = data_set.definition, (data_set.__module__, data_set.__qualname__)
    return Unit(version, code.digests.of([code.node(root)], among=training))


def moved_units(units: Mapping[str, Unit], lock: Lock | None = None) -> list[Moved]:
    """Return what moved since the lock, the committed one if none is given. Raises BadInput where there is none."""
    lock = lock or read()
    if lock is None:
        raise BadInput("There is no lock of the code; bench code --lock writes it.")
    return moved(lock, units, VIEW_VERSIONS, OF_VIEWS)


def entries_for(code: CodeOf, lock: Lock, units: Mapping[str, Unit], why: str, known: list[Entry]) -> list[Entry]:
    """Return what to add to `same.toml` so that every unit that moved has the digest of the lock again.

    From below: a definition that changed counts as what it was, if the lock knows it by name, so that what refers to it
    needs no entry. Raises BadInput where that does not bring a unit back.
    """
    fresh: list[Entry] = []
    for each in moved(lock, units, VIEW_VERSIONS, OF_VIEWS):
        if each.accounted:
            continue
        while (entry := _next(code, lock, each.unit, [*known, *fresh], why)) is not None:
            fresh.append(entry)
        now = _with(code, [*known, *fresh], each.unit)
        if now.code.digest != lock.units[each.unit].digest:
            raise BadInput(
                f"No entry can make {each.unit} what it was: what it starts from, or a statement of a module that is "
                "run with it, has another name; raise its version instead."
            )
    return fresh


def _with(code: CodeOf, entries: list[Entry], unit: str) -> Unit:
    code.digests = Digests(code.graph, mapping(entries))
    return unit_of(code, unit)


def _next(code: CodeOf, lock: Lock, unit: str, entries: list[Entry], why: str) -> Entry | None:
    """The lowest definition of a unit that is still another than the lock says; None where there is none."""
    now = _with(code, entries, unit).code
    if now.digest == lock.units[unit].digest:
        return None
    for node in code.digests.from_below(now.nodes):
        was, digest = lock.digest(unit, node.title), now.each[node.title]
        if was and was != digest:
            return Entry(definition=node.title, was=was, now=digest, why=why)
    return None
