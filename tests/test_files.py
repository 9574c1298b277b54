"""Files written whole or not at all, and the file that says that a stage is done."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from bench.execute.half_written import TEMPORARY
from bench.execute.stage_file import Done, read_done, write_done
from bench.files import add_checksum, checked, replacing, with_checksum, without_checksum, write_text


@pytest.mark.parametrize("durable", [False, True])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "state"
    write_text(file, "old")

    def fail() -> None:
        with replacing(file, durable=durable) as temporary:
            temporary.write_text("half of the new", encoding="utf-8")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fail()
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_processes_of_one_number_on_two_machines_write_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In containers, numbers are small and often equal."""
    file = tmp_path / "stage.json"
    monkeypatch.setattr("os.getpid", lambda: 7)
    monkeypatch.setattr("socket.gethostname", lambda: "node0")
    with replacing(file) as one:
        one.write_text("one")
        monkeypatch.setattr("socket.gethostname", lambda: "node1")
        write_text(file, "other")
        assert file.read_text() == "other"
    assert file.read_text() == "one"
    assert TEMPORARY.fullmatch(one.name)  # so that what a killed process leaves is known as such


def test_what_another_plan_left_in_a_folder_does_not_count_as_done(tmp_path: Path) -> None:
    done = Done(fingerprint="a" * 64, metrics={"top1_percent": 1.0}, wall_seconds=1.0, finished="2025-01-01T00:00:00")
    write_done(tmp_path, done)
    assert read_done(tmp_path, "a" * 64, ()) == done
    assert read_done(tmp_path, "b" * 64, ()) is None


def test_a_checksum_stands_first_and_covers_every_letter() -> None:
    text = json.dumps({"a": 1, "b": {"ü": [1, 2]}, "c": "x"}, indent=1, ensure_ascii=False)
    written = add_checksum(text + "\n")
    assert list(json.loads(written)) == ["checksum", "a", "b", "c"]
    assert hashlib.sha256(text.encode()).hexdigest() == json.loads(written)["checksum"]
    assert without_checksum(written) == text
    for place in range(len(written)):
        for changed in (written[:place] + written[place + 1 :], written[:place] + "7" + written[place + 1 :]):
            if changed == written:
                continue
            try:
                left = json.loads(without_checksum(changed))
            except ValueError:
                continue
            assert len(left) == 4  # with an entry that no reader expects
    for start in range(len(written)):  # no cut of one piece leaves an object with other content and no checksum
        for end in range(start + 1, len(written)):
            try:
                left = json.loads(without_checksum(written[:start] + written[end:]))
            except ValueError:
                continue
            assert left.keys() != {"a", "b", "c"} or left == json.loads(text)


def test_a_checksum_at_the_end_is_that_of_an_older_file() -> None:
    content = {"a": 1, "b": "ä"}
    digest = hashlib.sha256(json.dumps(content, indent=1, ensure_ascii=False).encode()).hexdigest()
    older = json.dumps({**content, "checksum": digest}, indent=1, ensure_ascii=False) + "\n"
    assert checked(older) == checked(with_checksum(content)) == content
    for text in (older, with_checksum(content)):
        with pytest.raises(ValueError, match="its checksum is not that of its content"):
            checked(text.replace('"a": 1', '"a": 2'))


def test_older_files_without_a_checksum_are_read_as_they_are() -> None:
    for text in ("{}", '{"a": 1}\n', json.dumps({"a": 1, "checksum": "0" * 64}, indent=1), ""):
        assert without_checksum(text) == text


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_read() -> None:
    assert checked('{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}
    with pytest.raises(ValueError, match="surrogates not allowed"):
        checked('{"a": ["\\ud800"]}')


def test_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "words")
        assert os.read(reader, 100) == b"words"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_what_a_process_has_open_is_never_replaced(tmp_path: Path) -> None:
    with (tmp_path / "opened").open("w") as opened:
        before = os.fstat(opened.fileno()).st_ino
        write_text(Path(f"/dev/fd/{opened.fileno()}"), "words")
    assert (tmp_path / "opened").read_text() == "words"
    assert (tmp_path / "opened").stat().st_ino == before
    assert list(tmp_path.iterdir()) == [tmp_path / "opened"]
