"""The notebook in docs runs, on a smaller grid: a grid from Python, with real stages in processes of their own."""

from __future__ import annotations

import ast
import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
SMALLER = ('PRETRAININGS = ["random_init", "coco_two_loss"]', 'PRETRAININGS = ["random_init"]')
LARGEST = 300_000  # bytes


def notebook() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code_cells() -> list[dict[str, Any]]:
    return [cell for cell in notebook()["cells"] if cell["cell_type"] == "code"]


def run_cell(text: str, names: dict[str, Any]) -> tuple[Any, str]:
    """Run a cell as a kernel does: return the value of a last line that is an expression, and what was printed."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "<cell>", "exec"), names)
        value = (
            eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if isinstance(last, ast.Expr) else None
        )
    return value, printed.getvalue()


def test_the_file_is_a_notebook_that_was_run_from_top_to_bottom_without_an_error() -> None:
    book = notebook()
    assert FILE.stat().st_size < LARGEST
    assert (book["nbformat"], book["metadata"]["kernelspec"]["language"]) == (4, "python")
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert {cell["cell_type"] for cell in book["cells"]} == {"code", "markdown"}
    assert [cell["execution_count"] for cell in code_cells()] == list(range(1, len(code_cells()) + 1))
    kinds = [output["output_type"] for cell in code_cells() for output in cell["outputs"]]
    assert set(kinds) <= {"stream", "execute_result", "display_data"}
    pictures = [output for cell in code_cells() for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2


def test_outputs_name_no_folder_of_the_machine_that_made_them() -> None:
    for cell in code_cells():
        for output in cell["outputs"]:
            texts = [output.get("text", ""), *(text for kind, text in output.get("data", {}).items() if "text" in kind)]
            said = "".join("".join(text) for text in texts)
            assert not any(place in said for place in ("/tmp/", "/home/", "/root/", "/work/", "site-packages"))


@pytest.mark.slow
def test_its_cells_run(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl
    import pandas as pd
    from matplotlib.figure import Figure

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(rendered, tmp_path / "runs" / "notebook" / "rendered")
    names: dict[str, Any] = {}
    first, *others = map(source, code_cells())
    assert SMALLER[0] in first
    results = [run_cell(text, names) for text in (first.replace(*SMALLER), *others)]
    grid, network = names["grid"], names["network"]
    assert len(grid.files) == 1
    assert "recorded already" in results[1][1]
    assert isinstance(results[2][0], pd.DataFrame)
    assert set(results[2][0].row) == {"random_init"}
    assert len(names["top1"]) == 1
    assert network.trunk_hash == json.loads(grid.files[0].read_text())["trunk"]
    assert network.load_proven
    assert [shape[1] for shape in results[4][0]] == [16, 32, 64, 128]
    assert all(isinstance(results[number][0], Figure) for number in (3, 5))
    assert (grid.work_dir / "pretrain").is_dir()  # stages were processes, with folders of their own
