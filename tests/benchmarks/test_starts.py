"""The commands whose starts are measured are those of the stages."""

import pytest
from typer.testing import CliRunner

from benchmarks import starts
from pipeline.__main__ import app
from pipeline.commands import stage

pytestmark = pytest.mark.slow


@pytest.fixture
def ran(monkeypatch):
    """The stages that a command would run."""
    found = []
    monkeypatch.setattr(stage, "_launch", lambda: None)
    monkeypatch.setattr(stage, "_run", lambda name, **arguments: found.append((name, arguments["scenario"])))
    return found


@pytest.mark.parametrize("name", starts.TRAINING)
def test_a_stage_accepts_its_arguments(name, ran):
    done = CliRunner().invoke(app, starts.command(name, *starts.TRAINING[name]))
    assert done.exit_code == 0, done.output
    assert ran == [(name, starts.SCENARIO)]


@pytest.mark.parametrize("name", ["automated", "placebo"])  # the prepared data is read first, or the masks
def test_a_stage_reaches_its_work(name):
    with starts._project() as folder:
        assert 0 < starts._input_s(folder, name) < starts.LIMIT_S


def test_every_stage_with_a_launcher_is_measured(monkeypatch):
    launched = []
    monkeypatch.setattr(stage, "_launch", lambda: launched.append(True))
    monkeypatch.setattr(stage, "_run", lambda name, **arguments: None)
    names = [command.callback.__name__.replace("_", "-") for command in stage.app.registered_commands]
    assert set(starts.TRAINING) <= set(names)
    for name in starts.TRAINING:
        CliRunner().invoke(app, starts.command(name, *starts.TRAINING[name]))
    assert len(launched) == len(starts.TRAINING)


def test_a_stage_that_fails_before_its_work_shows_its_output(monkeypatch):
    monkeypatch.setitem(starts.TRAINING, "placebo", ("--arm", "no-such-arm"))
    with pytest.raises(RuntimeError, match=r"reached no work(.|\n)*no-such-arm"):
        starts.stage_start_s(stages=("placebo",), runs=1)
