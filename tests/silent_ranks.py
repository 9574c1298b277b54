"""A rank without torch that ends as it is told; a script: silent_ranks.py FOLDER WORDS, a word for each start.

A word is what each rank does, parted by commas: `ok`, `wait` (for ever), `stop` (by SIGSTOP), the name of a signal that
ends it, or CODE:SENTENCE, what it says to its launcher. FOLDER/starts has a line for each start of each rank, and
FOLDER/stores the address of the store where the ranks of that start meet.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from bench.errors import BadInput, Interrupted, PeerLost, StageFailed
from bench.execute.rank_endings import said_to_launcher

ERRORS = {str(kind.exit_code): kind for kind in (BadInput, StageFailed, PeerLost, Interrupted)}


def stop(note: Path) -> None:
    note.touch()
    sys.exit(Interrupted.exit_code)


def main() -> None:
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    rank, number = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    with (folder / "starts").open("a") as file:
        file.write(f"{number} {rank}\n")
    with (folder / "stores").open("a") as file:
        file.write(f"{number} {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}\n")
    word = words[number].split(",")[rank]
    with said_to_launcher(folder):
        if word == "wait":  # until it is asked to stop in the way that ranks know
            signal.signal(signal.SIGTERM, lambda *_: stop(folder / f"asked-{rank}"))
            (folder / f"waiting-{rank}").write_text(str(os.getpid()))
            while True:
                time.sleep(60)
        elif word == "stop":
            (folder / f"stopped-{rank}").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        elif word.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, word))
        elif word != "ok":
            code, _, sentence = word.partition(":")
            raise ERRORS[code](sentence)


if __name__ == "__main__":
    main()
