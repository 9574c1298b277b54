"""Safe mode: no code that a config or a record names is run, and configs by URL are fetched within limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench import plugins
from bench.cli import run
from bench.config import remote_config
from bench.config.config_files import find, read
from bench.config.load import load_recipe, load_task
from bench.config.mmseg_networks import settings_of
from bench.config.plain_limits import MOST_BYTES
from bench.errors import BadInput
from bench.execute import stage as execute_stage
from bench.execute.anew import anew
from bench.execute.recording import command_of
from bench.execute.request import Request
from bench.execute.resolve import resolve
from bench.execute.stage_file import STAGE, read_stage, write_stage
from bench.plan import Planner
from bench.record import read_all
from bench.safe_mode import FROM_RECORD, NotSafe, is_safe, safe_mode

RECORDS = Path(__file__).parents[1] / "results" / "records"
CODE = "from pathlib import Path\nPath(RAN).touch()\ndel Path\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a config and a plug-in that leave a file where they are run."""
    texts = {"mine": f"_base_ = 'coco'\n{CODE}", "near": f"_base_ = 'imagenet_knn'\n{CODE}"}
    for name, text in (texts | {"thing": CODE + "class Thing:\n    pass\n"}).items():
        mark = str(tmp_path / f"{name}.ran")
        (tmp_path / f"{name}.py").write_text(text.replace("RAN", repr(mark)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def ran(place: Path) -> list[str]:
    return sorted(file.stem for file in place.glob("*.ran"))


# ------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (["show", "mine.py"], "mine"),
        (["plan", "--pretrain", "mine.py"], "mine"),
        (["run", "--dry-run", "--pretrain", "coco", "--downstream", "near.py"], "near"),
    ],
)
def test_the_option_keeps_a_config_from_being_run(
    words: list[str], who: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--safe"]) == 2
    said = capsys.readouterr().err
    assert f"{who}.py, line 2: from pathlib import Path is no assignment of data" in said
    assert said.endswith("or leave out --safe where you trust it.\n")
    assert said.count("\n") == 1
    assert ran(place) == []
    assert not is_safe()
    assert run(words) == 0
    assert ran(place) == [who]


def test_the_variable_says_the_same_to_every_command(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SAFE", "1")
    assert run(["show", "mine.py"]) == 2
    monkeypatch.setenv("BENCH_SAFE", "0")
    assert run(["show", "mine.py"]) == 0


@pytest.mark.parametrize("name", ["thing.py:Thing", "thing:Thing"])
@pytest.mark.parametrize(
    ("key", "what"), [("objective: {name: NAME}", "objective"), ("dataset: NAME", "data set"), ("kind: NAME", "kind")]
)
def test_code_from_outside_is_refused(
    key: str, what: str, name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    base = "imagenet_knn" if what == "kind" else "coco"
    (place / "mine.yaml").write_text(f"_base_: {base}\n{key.replace('NAME', repr(name))}\n", encoding="utf-8")
    load: Callable[[str], Any] = load_task if what == "kind" else load_recipe
    with safe_mode(), pytest.raises(NotSafe, match=rf"The {what} '{name}'.* is code from outside of bench") as caught:
        load("mine.yaml")
    assert str(caught.value).endswith("which is not run; leave out --safe where you trust it.")
    assert ran(place) == []


def test_what_an_installed_package_registers_is_no_code_of_a_config(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "entries", lambda group: {"thing": "json.decoder:JSONDecoder"})
    with safe_mode():
        for name in ("thing", "json.decoder:JSONDecoder"):
            assert plugins.locate(name, "any").attribute == "JSONDecoder"
        with pytest.raises(NotSafe):
            plugins.locate("json.encoder:JSONEncoder", "any")


MMSEG = "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"custom_imports": {"imports": ["thing"]}}, "custom_imports"),
        ({"custom_hooks": [{"type": "CheckpointHook"}]}, "custom_hooks"),
        ({"model.decode_head.type": "subprocess.Popen"}, r"type='subprocess\.Popen'"),
        ({"model.decode_head._scope_": "thing"}, "_scope_"),
        ({"model.decode_head.init_cfg": {"type": "Pretrained", "checkpoint": "x.pth"}}, "type='Pretrained'"),
        ({"model.auxiliary_head.pretrained": "x.pth"}, "pretrained"),
        ({"default_hooks.logger.out_dir": "elsewhere"}, "out_dir"),
    ],
)
def test_an_mmseg_config_that_has_code_run_is_refused(overrides: dict[str, Any], said: str) -> None:
    file = find("downstream_configs", MMSEG)
    with safe_mode():
        assert settings_of(file, {})["model"]["pretrained"]  # the trunk takes the place of it
        with pytest.raises(NotSafe, match=rf"{MMSEG}\.py has {said}, for which code would be run; take it out, or"):
            settings_of(file, overrides)
    settings_of(file, overrides)


@pytest.mark.slow
def test_a_stage_makes_the_same_network_of_a_config_that_is_read_or_run(tmp_path: Path) -> None:
    from bench.stages.segmentation.mmseg_config import adapt

    task = load_task("cityscapes_pspnet", "smoke", {"overrides": {"model.decode_head.dropout_ratio": 0.2}})
    ran = adapt(task, "resnet50", tmp_path, world=1, synchronise=False)  # type: ignore[arg-type]
    with safe_mode():
        plain = adapt(task, "resnet50", tmp_path, world=1, synchronise=False)  # type: ignore[arg-type]
    assert plain.config.to_dict() == ran.config.to_dict()
    assert plain.config.model.decode_head.dropout_ratio == 0.2
    assert (plain.iterations, plain.batch_size, plain.validate_every) == (ran.iterations, ran.batch_size, 4)


# ------------------------------------------------------------------------------------- stages, records


def planned(tmp_path: Path, pretrain: str = "random_init") -> Path:
    configs = resolve(Request(pretrain=[pretrain], profile="smoke"))
    planner = Planner(lambda name: "1" * 16, configs.by_name)
    stage, *_ = planner.grid(configs.recipes, configs.tasks, [0], [])
    return write_stage(stage, tmp_path / "work", {}, tmp_path, "fail")


def test_a_stage_is_run_as_it_was_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(execute_stage, "run_stage", lambda *_: seen.append(is_safe()))
    folder = planned(tmp_path)
    assert '"safe"' not in (folder / STAGE).read_text(encoding="utf-8")  # as earlier versions wrote it
    assert run(["stage", str(folder)]) == 0
    with safe_mode():
        folder = planned(tmp_path)
    assert read_stage(folder).safe
    assert run(["stage", str(folder)]) == 0
    assert seen == [False, True]
    assert not is_safe()


@pytest.mark.parametrize("pretrain", ["mine.py", "data.yaml"])
def test_what_a_record_names_is_not_run_unless_told(
    pretrain: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "data.yaml").write_text("_base_: coco\nobjective: {name: 'thing.py:Thing'}\n", encoding="utf-8")
    record = next(each for each in read_all(RECORDS) if each.task == "imagenet_knn" or each.kind == "knn")
    record = record.model_copy(update={"command": f"bench run --pretrain {pretrain} --downstream near.py --seeds 0"})
    (place / "record.json").write_text(record.model_dump_json(by_alias=True), encoding="utf-8")
    assert run(["trace", "record.json"]) == 0
    assert ran(place) == []
    out = capsys.readouterr().out
    assert "It was not planned here: " in out
    assert "give --no-safe where you trust" in out
    assert f"bench run --pretrain {pretrain} --downstream near.py" in out
    if pretrain == "mine.py":
        assert run(["trace", "record.json", "--no-safe"]) == 0
        assert "mine" in ran(place)
        assert "It was not planned here" not in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ URLs


class Server(ThreadingHTTPServer):
    """Serves what the test says, on this machine alone."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.over = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/slow.yaml":  # a byte at a time, for as long as the test lasts
            self.send_response(200)
            self.end_headers()
            while not self.server.over.wait(0.05):
                try:
                    self.wfile.write(b"#")
                    self.wfile.flush()
                except OSError:
                    return
        elif (place := self.server.redirects.get(self.path)) is not None:
            self.send_response(302)
            self.send_header("Location", place)
            self.end_headers()
        elif (body := self.server.bodies.get(self.path)) is not None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(place: Path) -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    remote_config._kept.cache_clear()
    yield served
    served.over.set()
    served.shutdown()
    served.server_close()
    thread.join()


def test_a_config_by_url_is_fetched_once_and_recorded_by_its_url(server: Server, place: Path) -> None:
    server.bodies["/a/mine.yaml"] = b"_base_: coco\nepochs: 3\n"
    server.redirects["/there.yaml"] = server.url("/a/mine.yaml")
    url = server.url("/a/mine.yaml")
    with pytest.raises(BadInput, match=r"is a config by URL, which is read as plain data alone; add --safe\.$"):
        load_recipe(url)
    assert server.asked == []
    with safe_mode():
        recipe = load_recipe(url)
        assert (recipe.name, recipe.epochs, recipe.dataset) == ("mine", 3, "coco")
        assert load_recipe(url) == recipe
        assert load_recipe(server.url("/there.yaml")).name == "there"
        assert server.asked == ["/a/mine.yaml", "/there.yaml", "/a/mine.yaml"]
        command = command_of(recipe, load_task("imagenet_knn"), 0)
    assert command == f"bench run --pretrain {url} --downstream imagenet_knn --seeds 0 --safe --profile full"
    # What a record names is not fetched.
    server.asked.clear()
    remote_config._kept.cache_clear()
    record = next(each for each in read_all(RECORDS) if each.kind == "knn").model_copy(update={"command": command})
    made = anew(record)
    assert not made.same
    assert made.note.startswith(f"It was not planned here: {url} is a config by URL, and what a record names is not")
    assert server.asked == []


def test_a_task_by_url(server: Server) -> None:
    server.bodies["/near.json"] = b'{"_base_": "imagenet_knn", "k": 3}'
    with safe_mode():
        assert load_task(server.url("/near.json")).k == 3  # type: ignore[attr-defined]


def test_what_cannot_be_fetched_is_refused_in_one_sentence(
    server: Server, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "secret.yaml").write_text("epochs: 3\n", encoding="utf-8")
    server.bodies |= {"/large.yaml": b"#" * (MOST_BYTES + 1), "/latin.yaml": b"\xe9", "/code.py": b"import os\n"}
    server.bodies |= {"/path.yaml": b"_base_: ../secret.yaml\n", "/page": b"", "/most.yaml": b"#" * MOST_BYTES}
    server.redirects |= {
        "/file.yaml": (place / "secret.yaml").as_uri(),
        "/ftp.yaml": "ftp://127.0.0.1/a.yaml",
        "/http.yaml": "http://example.com/a.yaml",
        "/round.yaml": server.url("/round.yaml"),
    }
    cases = {
        "/no.yaml": r"cannot be fetched \(HTTP Error 404: Not Found\)",
        "/large.yaml": rf"more than {MOST_BYTES // 1024} KiB",
        "/latin.yaml": r"is not UTF-8",
        "/page": r"whose name ends in \.py, \.yaml, \.yml, \.json; correct the URL",
        "/%2e%2e%2fa.yaml": r"is no config",
        "/file.yaml": r"cannot be fetched \(HTTP Error 302: .* Redirection to url 'file:///.*' is not allowed",
        "/ftp.yaml": r"leads to ftp://.*, but configs are fetched over https alone",
        "/http.yaml": r"leads to http://example\.com/a\.yaml, but configs are fetched over https alone",
        "/round.yaml": r"cannot be fetched \(HTTP Error 302: .*infinite loop",
        "/path.yaml": r"is the path '\.\./secret\.yaml', but what is fetched inherits by name alone",
        "/code.py": r"code\.py, line 1: import os is no assignment of data",
    }
    with safe_mode():
        for path, message in cases.items():
            with pytest.raises(BadInput, match=message) as caught:
                read(find("pretrain_configs", server.url(path)))
            assert "\n" not in str(caught.value)
        assert read(find("pretrain_configs", server.url("/most.yaml")))[0] == {}
        for url in ("ftp://localhost/a.yaml", "file:///etc/a.yaml", "http://example.com/a.yaml", "https:///a.yaml"):
            with pytest.raises(BadInput, match="configs are fetched over https alone"):
                find("pretrain_configs", url)
        with pytest.raises(BadInput, match=r"https://\[x/a\.py is no URL \(Invalid IPv6 URL\); correct it"):
            find("pretrain_configs", "https://[x/a.py")
        monkeypatch.setattr(remote_config, "SECONDS", 0.3)
        with pytest.raises(BadInput, match=r"slow\.yaml did not answer within 0 s"):
            find("pretrain_configs", server.url("/slow.yaml"))


def test_a_cache_that_cannot_be_written_is_named(server: Server, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    monkeypatch.setattr(remote_config, "_folder", lambda: place / "file" / "configs")
    server.bodies["/fresh.yaml"] = b"epochs: 3\n"
    with safe_mode(), pytest.raises(BadInput, match=r"Cannot write to .*configs \(Not a directory\).*XDG_CACHE_HOME"):
        find("pretrain_configs", server.url("/fresh.yaml"))


def test_a_name_too_long_for_a_file_is_no_config() -> None:
    for folder in ("pretrain_configs", "downstream_configs"):
        with pytest.raises(BadInput, match=r"No (pretraining|downstream) config 'xxx"):
            find(folder, "x" * 300 + ".yaml")


def test_another_machine_cannot_lead_to_this_one() -> None:
    with pytest.raises(
        BadInput, match=r"https://example\.com/a leads to http://127\.0\.0\.1/b, but configs are fetched"
    ):
        remote_config._check_scheme("http://127.0.0.1/b", asked="https://example.com/a")
    remote_config._check_scheme("https://example.com/b", asked="https://example.com/a")


def test_a_record_is_planned_without_fetching_even_in_safe_mode() -> None:
    with safe_mode(), safe_mode(FROM_RECORD), pytest.raises(NotSafe, match="is not fetched"):
        find("pretrain_configs", "https://localhost/a.yaml")
