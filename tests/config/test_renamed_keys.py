"""Keys of the previous release: stages accept them and print a line with the new key."""

from __future__ import annotations

import pytest

from pipeline.config import renamed_keys


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("surrogate.reach=4", "surrogate.horizon_steps=4"),
        ("++surrogate.reach=2,4", "++surrogate.horizon_steps=2,4"),
        ("~surrogate.reach", "~surrogate.horizon_steps"),
    ],
)
def test_an_override_of_a_previous_key_sets_the_new_key(
    argument: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert renamed_keys.current_overrides([argument, "-m", "surrogate=mlp"]) == [
        expected,
        "-m",
        "surrogate=mlp",
    ]
    assert "surrogate.reach is now surrogate.horizon_steps" in capsys.readouterr().err


def test_a_file_with_a_previous_key_sets_the_new_key(capsys: pytest.CaptureFixture[str]) -> None:
    configuration = {"seed": 0, "surrogate": {"name": "mlp", "horizon_steps": 1, "reach": 4}}
    expected = {"seed": 0, "surrogate": {"name": "mlp", "horizon_steps": 4}}
    assert renamed_keys.current_configuration(configuration) == expected
    assert "surrogate.reach is now surrogate.horizon_steps" in capsys.readouterr().err


def test_a_file_with_a_previous_key_at_the_top_level_sets_the_new_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configuration = {"overwrite": False, "seed": 0, "start_anew": True}
    assert renamed_keys.current_configuration(configuration) == {"overwrite": True, "seed": 0}
    assert "start_anew is now overwrite" in capsys.readouterr().err


def test_current_keys_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["surrogate.horizon_steps=4", "training.note=surrogate.reach=4"]
    assert renamed_keys.current_overrides(arguments) == arguments
    assert not capsys.readouterr().err
