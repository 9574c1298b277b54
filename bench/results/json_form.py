"""Sections as JSON: what cells hold, for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.results.headers import headers_of
from bench.results.look import Heading
from bench.results.sections import Cell, Row, Section


def as_json(sections: Sequence[Section], heading: Heading) -> str:
    """Return {"title", "legend", "sections": [{"key", "title", "profile", "columns", "rows", "notes"}]}.

    A row has a cell, or null, for each column, in their order.
    """
    return json.dumps(
        {"title": heading.title, "legend": heading.legend, "sections": [_section(section) for section in sections]},
        indent=1,
        allow_nan=False,
        ensure_ascii=False,
    ) + "\n"  # fmt: skip


def _section(section: Section) -> dict[str, Any]:
    columns = [
        {
            "header": column.header,
            "task": column.task,
            "metric": column.metric,
            "unit": header.unit,
            "protocol": column.protocol,
            "data": column.data,
            "remark": column.remark,
        }
        for column, header in zip(section.columns, headers_of(section.columns), strict=True)
    ]
    return {
        "key": section.key,
        "title": section.title,
        "profile": section.profile,
        "columns": columns,
        "rows": [_row(section, row) for row in section.rows],
        "notes": list(section.notes),
    }


def _row(section: Section, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "label": row.label or row.name,
        "arch": row.arch,
        "published": row.published,
        "older_definition": row.older,
        "texts": dict(zip(section.leading, row.leading, strict=True)),
        "cells": [None if cell is None else _cell(cell) for cell in row.cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    """Spreads are null where there is a single value; of a published cell the mean and the difference are known."""
    verdict = cell.verdict
    return {
        "mean": cell.summary.mean,
        "between": cell.summary.between,
        "within": cell.summary.within,
        "n": None if cell.published else cell.summary.n,
        "values": None if cell.published else cell.values,
        "best": cell.best,
        "best_about": cell.best_about if cell.best else None,
        "difference": cell.difference,
        "verdict": verdict.word if verdict else None,
        "p": verdict.p if verdict else None,
        "p_holm": verdict.adjusted if verdict else None,
        "verdict_about": verdict.about if verdict and verdict.p is not None else None,
        "protocol": cell.protocol,
        "precision": cell.precision,
        "other_code": cell.other_code,
        "interventions": cell.interventions,
    }
