import pytest
import torch

from geotrans.errors import BundleError, ConfigError, OutputError
from geotrans.training.checkpoint import load_checkpoint, save_checkpoint
from geotrans.training.config import resolve_config
from tests.helpers.patches import toy_config

CONFIG = resolve_config(toy_config())


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    state = {"config": CONFIG, "step": 3, "generator": {"weight": torch.arange(5000.0)}}
    save_checkpoint(path, state)
    return path


def test_a_checkpoint_comes_back(checkpoint):
    state = load_checkpoint(checkpoint, config=CONFIG)
    assert state["step"] == 3
    assert torch.equal(state["generator"]["weight"], torch.arange(5000.0))
    assert [p.name for p in checkpoint.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"loss__l1": 7}, "loss.l1 = 10.0, this run has 7.0"),
        ({"training__seed": 1}, "training.seed = 0, this run has 1"),
        ({"augment__groups": {"2020": 1}}, "augment.groups.2020 = None, this run has 1.0"),
        ({"data__patch": 32}, "data.patch = None, this run has 32"),
    ],
)
def test_another_configuration_is_refused_with_the_key(checkpoint, change, told):
    with pytest.raises(ConfigError, match=told):
        load_checkpoint(checkpoint, config=resolve_config(toy_config(**change)))


def test_how_long_where_and_in_what_words_may_change(checkpoint):
    config = toy_config(
        training__steps=99,
        training__max_minutes=3,
        training__devices=2,
        training__evaluate_every=7,
        data__root="/elsewhere",
        task__limits="Knows one town.",
    )
    assert load_checkpoint(checkpoint, config=resolve_config(config))["step"] == 3


def test_damaged_files_are_refused(checkpoint):
    whole = checkpoint.read_bytes()
    middle = len(whole) // 2
    for damaged in (b"", whole[:100], whole[:middle], b"not a checkpoint", b"\x80\x02}q\x00."):
        checkpoint.write_bytes(damaged)
        with pytest.raises(BundleError, match="checkpoint"):
            load_checkpoint(checkpoint, config=CONFIG)


def test_foreign_files_are_refused_and_run_no_code(checkpoint, tmp_path):
    torch.save({"weights": torch.zeros(1)}, checkpoint)
    with pytest.raises(BundleError, match="is no checkpoint of geotrans"):
        load_checkpoint(checkpoint, config=CONFIG)

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"config": Evil()}, checkpoint)
    with pytest.raises(BundleError, match="is damaged"):
        load_checkpoint(checkpoint, config=CONFIG)
    assert not (tmp_path / "touched").exists()


def test_the_last_checkpoint_stays_when_the_next_cannot_be_written(checkpoint, monkeypatch):
    def full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"cannot write checkpoint .*No space left"):
        save_checkpoint(checkpoint, {"config": CONFIG})
    monkeypatch.undo()
    assert load_checkpoint(checkpoint, config=CONFIG)["step"] == 3
    assert len(list(checkpoint.parent.iterdir())) == 1


def test_what_an_older_version_did_not_know_has_its_default(tmp_path):
    path, config = tmp_path / "checkpoint.pt", resolve_config(toy_config())
    older = {
        key: dict(value) if isinstance(value, dict) else value for key, value in config.items()
    }
    del older["loss"]["cycle"], older["training"]["pool"], older["contrast"]
    save_checkpoint(path, {"config": older, "step": 3})
    assert load_checkpoint(path, config=config)["step"] == 3
    with pytest.raises(ConfigError, match=r"with training\.pool = 50, this run has 7"):
        load_checkpoint(path, config=resolve_config(toy_config(training__pool=7)))
