import json

from geotrans.cli.main import run
from geotrans.tasks import shipped_bundles


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


def test_shipped_bundles_are_small():
    assert sum(path.stat().st_size for path in shipped_bundles().values()) < 20e6
