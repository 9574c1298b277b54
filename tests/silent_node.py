"""The launcher of one of two nodes, whose ranks are those of silent_ranks.py; a script.

silent_node.py FOLDER HOST:PORT HOLDER WORDS: of a stage's folder; HOLDER is 1 for the launcher that holds it. Prints
how it ended.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import BadInput, Interrupted, StageFailed
from bench.execute import elastic
from bench.execute.launch import Layout, launch
from bench.execute.stage_file import read_stage


def main() -> None:
    folder, place, holder, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1", sys.argv[4:]
    run, script = elastic.run, str(Path(__file__).with_name("silent_ranks.py"))

    def silent(ranks: elastic.Ranks, *rest: Any) -> elastic.Outcome:
        return run(replace(ranks, command=[sys.executable, script, str(folder), *words]), *rest)

    elastic.run = silent
    try:
        launch(folder, read_stage(folder), Layout(1, 2, place), [], holder=holder)
    except (BadInput, StageFailed, Interrupted) as error:
        print(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
