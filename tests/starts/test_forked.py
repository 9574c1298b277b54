"""Programs that are forks behave as processes of their own: words, folder, environment, output, ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from forked import Forks


def test_words_folder_and_environment_are_its_own(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import beside, os, sys\nprint(sys.argv[1:], os.getcwd(), dict(os.environ))\n")
    (tmp_path / "beside.py").touch()
    done = forks.run([tmp_path / "script.py", "a", 2], tmp_path, {"ONE": "1"})
    assert done.stdout == f"['a', '2'] {tmp_path} {{'ONE': '1'}}\n", done.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert forks.run(["-c", "import os; print(os.getsid(0) == os.getpid())"], tmp_path, {}).stdout == "True\n"
    assert "ONE" not in forks.run(["-c", "import os; print(*os.environ)"], tmp_path, {}).stdout


@pytest.mark.parametrize(
    ("program", "code", "err"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('in words')", 1, "in words\n"),
        ("import sys; sys.exit()", 0, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
    ],
)
def test_its_end_is_that_of_a_process(forks: Forks, tmp_path: Path, program: str, code: int, err: str) -> None:
    done = forks.run(["-c", program], tmp_path, os.environ)
    assert (done.returncode, done.stderr) == (code, err)


def test_an_error_has_its_traceback(forks: Forks, tmp_path: Path) -> None:
    done = forks.run(["-c", "1 / 0"], tmp_path, os.environ)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_nothing_of_the_package_is_there_before_it_is_imported(forks: Forks, tmp_path: Path) -> None:
    """What is read is the package that PYTHONPATH names, and no program sees what another one imported."""
    program = "import sys; print([name for name in sys.modules if name.partition('.')[0] == 'bench'])"
    assert forks.run(["-c", f"import bench.cli; {program}"], tmp_path, os.environ).stdout != "[]\n"
    assert forks.run(["-c", program], tmp_path, os.environ).stdout == "[]\n"
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").touch()
    (tmp_path / "bench" / "__main__.py").write_text("print('another')\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert forks.run(["-m", "bench"], elsewhere, {"PYTHONPATH": str(tmp_path)}).stdout == "another\n"


def test_they_run_side_by_side_and_answer_signals(forks: Forks, tmp_path: Path) -> None:
    meets = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\n"
    meets += "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)\n"
    for done in forks.run_side_by_side([["-c", meets, *"ab"], ["-c", meets, *"ba"]], tmp_path, [os.environ] * 2):
        assert done.returncode == 0, done.stderr
    waits = forks.popen(["-c", "import time; print('begun', flush=True); time.sleep(600)"], tmp_path, os.environ)
    assert waits.poll() is None
    waits.kill()
    assert waits.wait() == waits.poll() == -signal.SIGKILL


def test_what_a_fork_starts_is_a_fork_with_its_input_and_output(forks: Forks, tmp_path: Path) -> None:
    """As the server of stages is started, by the command `bench`; anything else is started as it is."""
    program = (
        "import subprocess, sys\n"
        "words = [sys.executable, '-m', 'bench', 'list', '--json']\n"
        "listed = subprocess.run(words, capture_output=True, text=True, start_new_session=True)\n"
        "other = subprocess.run([sys.executable, '-c', 'import sys; print(\"torch\" in sys.modules)'],"
        " capture_output=True, text=True)\n"
        "print(listed.returncode, 'coco_two_loss' in listed.stdout, other.stdout.strip())\n"
    )
    done = forks.run(["-c", program], tmp_path, os.environ)
    assert done.stdout == "0 True False\n", done.stderr


def test_nothing_outlives_whoever_asked_for_it(tmp_path: Path) -> None:
    with Forks() as own:
        waits = own.popen(["-c", "import time; time.sleep(600)"], tmp_path, os.environ)
        assert waits.poll() is None
    end = time.monotonic() + 60
    while Path(f"/proc/{waits.pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
