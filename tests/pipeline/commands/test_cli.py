"""`lookaway`: every command has a sentence of help, typed arguments, and errors without a traceback."""

import inspect
import os
import sys
from importlib import import_module

import pytest
import typer
import yaml
from fakes import warm_python
from fakes.checkout import ROOT
from typer.testing import CliRunner

from pipeline import config
from pipeline.__main__ import app
from pipeline.commands import running, stage
from pipeline.errors import ConfigError


def commands(group, path=()):
    """Every command with its path, below a Click group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
STAGES = [path[1] for path in COMMANDS if path[0] == "stage"]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(path):
    assert COMMANDS[path].help.strip().endswith(".")
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), f"{' '.join(path)} {parameter.name}"
    found = CliRunner().invoke(app, [*path, "--help"])
    assert found.exit_code == 0
    assert "Usage:" in found.output


def test_without_a_command_it_shows_all_of_them():
    assert CliRunner().invoke(app, []).output.count("\n") > 10
    assert {path[0] for path in COMMANDS} == {
        "demo", "paper", "stage", "experiments", "search", "sweep", "bench", "server",
    }  # fmt: skip


def test_every_stage_of_dvc_yaml_is_a_command_with_the_arguments_of_its_main():
    assert set(STAGES) == set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    for name in STAGES:
        main = import_module(f"pipeline.stages.{name.replace('-', '_')}").main
        assert list(inspect.signature(main).parameters) == [p.name for p in COMMANDS["stage", name].params]


def run(folder, *arguments, **environment):
    return warm_python.run("-m", "pipeline", *arguments, cwd=folder, code=ROOT, **environment)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["stage", "baseline", "--scenario", "nowhere"], 1, "error: cannot read params.yaml"),
        (["stage", "baseline"], 2, "Missing option '--scenario'"),
        (["stage", "placebo", "--scenario", "x", "--arm", "sugar"], 2, "'random-mask'"),
        (
            ["stage", "query-export", "--scenario", "x", "--round", "00", "--after", "start", "--queries", "many"],
            2,
            "int",
        ),
        (["experiments", "nothing"], 1, "error: no experiment nothing. Fix: choose from decoy-digits"),
        (["search", "nothing"], 1, "Fix: choose from decoy-digits"),
        (["server", "status"], 1, "not running"),
        (["stga"], 2, "No such command"),
    ],
)
@pytest.mark.slow
def test_a_mistake_ends_with_a_message_and_its_code(tmp_path, arguments, code, says):
    done = run(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_env_adds_to_the_environment_and_does_not_replace_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("ONE=file\nTWO=file\n")
    monkeypatch.setenv("ONE", "environment")
    monkeypatch.delenv("TWO", raising=False)
    with running.user_errors(again="it"):
        assert (os.environ["ONE"], os.environ["TWO"]) == ("environment", "file")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("x is wrong. Fix: y"), "error: x is wrong. Fix: y", ""),
        (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device.", ""),
        (KeyboardInterrupt(), 130, "nothing is lost. Run `it` to resume"),
    ],
)
def test_what_a_user_can_put_right_ends_the_process_with_a_message(error, code, says, capsys):
    with pytest.raises(SystemExit) as ended, running.user_errors(again="it"):
        raise error
    assert ended.value.code == code or str(ended.value.code).startswith(str(code))
    assert says in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), running.user_errors(again="it"):
        1 / 0  # noqa: B018


def test_a_launcher_gets_the_same_command(monkeypatch):
    given = []
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(sys, "argv", ["lookaway", "stage", "automated", "--scenario", "x"])
    monkeypatch.setattr(os, "execvp", lambda file, arguments: given.append(arguments))
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"compute": {"launcher": "torchrun --standalone"}}
    monkeypatch.setattr(config, "load", lambda: config.Config.model_validate(params))
    stage._launch()
    assert given == [["torchrun", "--standalone", "-m", "pipeline", "stage", "automated", "--scenario", "x"]]
    monkeypatch.setenv("LOCAL_RANK", "0")
    stage._launch()
    assert len(given) == 1, "a launched process does not launch again"
