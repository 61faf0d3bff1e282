"""Mistakes of the author of a solver: each is refused with the file, the class and the correction."""

from __future__ import annotations

from pathlib import Path

import pytest

from simsurrogate.errors import UserError
from tests.support.in_process import generate_in_process

WAVE = (Path(__file__).parent / "outside" / "decaying_wave.py").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('    method = "exact solution"\n', "", "DecayingWave has no attribute method. A solver needs"),
        ("self.block = ", "self.blocks = ", "DecayingWave has no attribute block"),
        ('Field("temperature"', 'Field("x"', "has the name 'x' twice, or the name of an axis"),
        ('Field("temperature"', 'Field("time"', "has the name 'time' twice"),
        ('Field("temperature"', 'Field("amplitude"', "has the name 'amplitude' twice"),
        ('Field("temperature"', 'Field("t/q"', "has the name 't/q' in its spec"),
        ("parametric=True", "parametric=True, chaotic=True", "without the method with_other_accuracy"),
        (
            'fields=(Field("temperature", "K", "the temperature"),)',
            'fields=(Field("v_x", "K", ""), Field("v", "K", "", 1))',
            "has two channels with the name 'v_x'",
        ),
        (
            "class Wave(Trajectory)",
            "class Wave",
            "DecayingWave.prepare returns a Wave. A solver",
        ),
    ],
)
def test_a_solver_that_breaks_its_contract_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in WAVE
    file = tmp_path / "decaying_wave.py"
    file.write_text(WAVE.replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        generate_in_process(
            tmp_path / "run", "solver=custom", "++solver.name=decaying_wave", f"++solver.path={file}"
        )
    assert str(file) in str(error.value)
    assert not list((tmp_path / "run").rglob("*.hdf5"))
