"""The guard: each refusal names what was found, what is allowed and what to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.data.lineage import guard
from pipeline.data.lineage.family import DataNode, Family, ModelNode, Part
from pipeline.data.lineage.limits import Limits
from pipeline.data.origin import UNKNOWN, DeclaredOrigin, Origin
from simsurrogate.errors import UserError

SOLVER = Origin(kind="solver", name="heat")
MEASURED = Origin(kind="measurement", source="tunnel 3", instrument="PIV", uncertainty="2 %")
FIRST, SECOND = (
    Origin(kind="surrogate", name="fno", model=str(number) * 64, generation=number) for number in (1, 2)
)
ALL = {"train": 8, "valid": 2, "test": 2}
TRAINING = {"train": 8, "valid": 2}


@dataclass
class Data:
    """A data set as the guard reads it."""

    parts: Sequence[tuple[Origin, dict[str, int]]]
    name: str = "data"
    folder: Path = field(init=False)
    identity: str = field(init=False)
    family: Family = field(init=False)

    def __post_init__(self) -> None:
        self.folder, self.identity = Path(self.name), self.name
        parts = tuple(Part(origin=origin, trajectories=counts) for origin, counts in self.parts)
        self.family = Family(data={self.name: DataNode(name="heat", parts=parts)})


def model_of(data: Data, generation: int = 1) -> Family:
    """Return a trained model of a data set."""
    return Family(models={"m": ModelNode(name="fno", generation=generation, data=(data.name,))}) | data.family


#: Each case: the data sets, the model to start from, the keys that accept them, and the message without.
CASES = {
    "model output": (
        [Data([(SOLVER, ALL), (FIRST, TRAINING)])], None,
        ["lineage.max_model_share=0.5", "lineage.max_generation=1"],
        r"50 % of the trajectories are output of models, and lineage.max_model_share=0 allows 0 %",
    ),
    "a share over two data sets": (
        [Data([(SOLVER, ALL)], "a"), Data([(FIRST, {"train": 4})], "b")], None,
        ["lineage.max_model_share=0.3334", "lineage.max_generation=1"], r"33\.3 % of the trajectories",
    ),
    "a generation": (
        [Data([(SOLVER, ALL), (SECOND, TRAINING)])], None,
        ["lineage.max_model_share=0.5", "lineage.max_generation=2"],
        r"data: the data have the generation 2, and lineage.max_generation=0 is allowed",
    ),
    "a test split": (
        [Data([(SOLVER, TRAINING), (FIRST, {"test": 1})])], None,
        ["lineage.max_generation=1", "lineage.allow_model_tests=true"],
        r"data: the splits test hold output of models",
    ),
    "a calibration split": (
        [Data([(SOLVER, ALL), (FIRST, {"calibration": 19})])], None,
        ["lineage.max_generation=1", "lineage.allow_model_tests=true"],
        r"data: the splits calibration hold output of models",
    ),
    "an unknown origin": (
        [Data([(UNKNOWN, ALL)])], None, ["lineage.allow_unknown=true"],
        r"data: the origin of the data is unknown.*origin\.kind=measurement",
    ),
    "a start from a model of model output": (
        [Data([(MEASURED, ALL)])], model_of(Data([(FIRST, TRAINING)], "before"), 2),
        ["lineage.max_model_share=1", "lineage.max_generation=1"],
        r"the data of training\.start_from: 100 % of the trajectories",
    ),
    "a start from a model of unknown data": (
        [Data([(MEASURED, ALL)])], Family(models={"m": ModelNode(name="fno", generation=1, data=("gone",))}),
        ["lineage.allow_unknown=true"], r"the data set gone of training\.start_from: .*unknown",
    ),
}  # fmt: skip


def limits_of(keys: Sequence[str]) -> Limits:
    values = dict(key.removeprefix("lineage.").split("=") for key in keys)
    return Limits.model_validate_strings(values)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_finding_is_refused_until_its_key_is_typed(
    case: tuple[list[Data], Family | None, list[str], str],
) -> None:
    data, start, keys, message = case
    with pytest.raises(UserError, match=message) as error:
        guard.refuse(data, Limits(), start_from=start)
    assert f"accept them with {' '.join(keys)}: the model card" in str(error.value).replace("\n", " ")
    assert guard.refuse(data, limits_of(keys), start_from=start) == tuple(keys)
    for key in keys:
        others = [other for other in keys if other != key]
        with pytest.raises(UserError, match=key.partition("=")[0]):
            guard.refuse(data, limits_of(others), start_from=start)


def test_solvers_measurements_and_their_models_pass_without_a_word() -> None:
    data = [Data([(SOLVER, ALL), (MEASURED, ALL)])]
    assert guard.refuse(data, Limits(max_generation=5), start_from=model_of(data[0])) == ()


def test_the_shares_of_a_mixture_count() -> None:
    data = [Data([(SOLVER, ALL)], "a"), Data([(FIRST, TRAINING)], "b")]
    limits = Limits(max_model_share=0.2, max_generation=1)
    assert guard.refuse(data, limits, shares=[(0.8, 0.2)])
    # The shares of a schedule: the larger share of model output counts.
    for shares in ((0.9, 0.1), (0.7, 0.3)), ((0.7, 0.3), (1.0, 0.0)):
        with pytest.raises(UserError, match=r"30 % of the trajectories"):
            guard.refuse(data, limits, shares=shares)


def test_the_card_says_what_was_accepted() -> None:
    node = ModelNode(
        name="fno",
        generation=3,
        data=("d",),
        accepted=("lineage.max_generation=2", "lineage.allow_unknown=true"),
    )
    assert guard.sentence(node) == (
        "This model was trained on output of models and trained on data of unknown origin (generation 3), "
        "which a user accepted by lineage.max_generation=2 lineage.allow_unknown=true."
    )
    assert not guard.sentence(ModelNode(name="fno", generation=1, data=("d",)))


def test_an_evaluation_on_model_output_is_refused() -> None:
    data = [Data([(SOLVER, TRAINING), (FIRST, {"test_extrapolation": 2})])]
    with pytest.raises(UserError, match=r"splits test_extrapolation hold output of models"):
        guard.refuse_model_tests(data, Limits())
    assert guard.refuse_model_tests(data, Limits(allow_model_tests=True))
    assert guard.refuse_model_tests([Data([(UNKNOWN, ALL)])], Limits()) == ()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"source": "tunnel"}, r"origin\.source describes an origin without a kind"),
        ({"kind": "measurement"}, r"origin\.kind=measurement has no origin\.source"),
        ({"kind": "solver", "name": "a", "instrument": "PIV"}, r"origin\.instrument does not belong"),
        ({"kind": "solver"}, r"origin\.kind=solver has no origin\.name"),
    ],
)
def test_an_incomplete_declaration_is_refused(keys: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _ = DeclaredOrigin(**keys).origin  # type: ignore[arg-type]


def test_declared_output_of_a_model_has_a_generation() -> None:
    origin = DeclaredOrigin(kind="surrogate", name="NRSur7dq4", corrected_by="SEOBNR").origin
    assert origin is not None
    assert (origin.generation, origin.corrected_by) == (1, "SEOBNR")
    with pytest.raises(ValueError, match="generation"):
        Origin(kind="solver", name="heat", generation=1)
