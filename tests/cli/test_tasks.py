import json
from pathlib import Path

from geotrans.cli.main import run
from geotrans.tasks import shipped_bundles
from tests.helpers.stac import read_valid


def test_every_shipped_task_is_listed_with_what_a_user_chooses_by(capsys):
    assert run(["tasks"]) == 0
    told = capsys.readouterr().out
    assert {"map2aerial", "aerial2map"} <= set(shipped_bundles())
    for word in ("map2aerial", "aerial2map", "red, green, blue", "0.48 to 0.75 m", "Apache-2.0"):
        assert word in told
    assert "classes" in told


def test_as_json(capsys):
    assert run(["tasks", "--json"]) == 0
    tasks = {task["name"]: task for task in json.loads(capsys.readouterr().out)}
    assert [band["name"] for band in tasks["map2aerial"]["source"]] == ["red", "green", "blue"]
    assert tasks["map2aerial"]["metrics"]


def test_as_stac(tmp_path, capsys):
    assert run(["tasks", "--stac", str(tmp_path / "networks")]) == 0
    paths = capsys.readouterr().out.split()
    assert paths[0] == str(tmp_path / "networks" / "collection.json")
    assert len(paths) == 1 + len(shipped_bundles())
    for path in paths:
        read_valid(Path(path))


def test_shipped_bundles_are_small():
    assert sum(path.stat().st_size for path in shipped_bundles().values()) < 20e6
