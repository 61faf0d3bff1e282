"""Results of evaluate: they follow their definitions on any number of ranks and are written whole."""

import dataclasses
import datetime
import json
import re
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

import surrogates
from pipeline.data.dataset import Dataset
from pipeline.evaluation import schema, trained_model
from pipeline.evaluation.baselines.untrained import missing_linear_solution
from pipeline.evaluation.report import report
from pipeline.evaluation.report.baselines_part import baselines_part
from pipeline.evaluation.report.context import ReportContext
from pipeline.evaluation.report.metrics_part import metrics_part
from pipeline.evaluation.report.spectra_part import spectra_part
from pipeline.evaluation.report.speed_part import speed_part
from pipeline.runs.folder import EVALUATION_FIGURE_NAME, RunFolder
from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Coarsening, Grid
from surrogates import store
from tests.support import launching, problems
from tests.support.disks import NEEDS_ROOT, mounted_disk
from tests.support.launching import SMALL_DATASET, require_success, run_stage

ROOT = Path(__file__).parents[2]
EVALUATE_FAULTS = ("-m", "tests.faults.evaluate_faults")
OVERRIDES = (
    *SMALL_DATASET,
    "samples.test=5",
    "samples.test_extrapolation=2",
    "samples.calibration=9",
    "storage.max_error=0.1",
    "surrogate.width=8",
    "surrogate.modes=4",
    "surrogate.layers=1",
    "training.steps=4",
    "training.batch_size=4",
    "training.warmup_steps=1",
    "evaluation.batch_size=2",
    "evaluation.figures=1",
    "evaluation.worth=0",
)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory) -> Path:
    """Return a run folder with a trained model and no evaluation."""
    run = tmp_path_factory.mktemp("evaluate") / "run"
    for name in ("generate", "validate", "train"):
        require_success(run_stage(name, f"run={run}", *OVERRIDES))
    return run


@pytest.fixture(scope="module")
def evaluated_run(trained_run, tmp_path_factory) -> Path:
    run = copy_run(trained_run, tmp_path_factory.mktemp("evaluated"))
    evaluate(run)
    return run


def copy_run(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "run"))


def evaluate(run: Path, *overrides: str, ranks: int = 0):
    return require_success(run_stage("evaluate", f"run={run}", *OVERRIDES, *overrides, ranks=ranks))


def evaluation_folder(run: Path) -> Path:
    return run / "models" / "fno" / "evaluation"


def read_metrics(run: Path) -> dict:
    return json.loads((evaluation_folder(run) / "metrics.json").read_text())


def relative_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(np.float64(prediction) - truth) / np.linalg.norm(np.float64(truth)))


def test_the_errors_follow_their_definitions(evaluated_run):
    dataset = Dataset.open(evaluated_run / "dataset")
    model = surrogates.load(evaluated_run / "models" / "fno")
    results = read_metrics(evaluated_run)
    for split, count in (("test", 5), ("test_extrapolation", 2)):
        final_errors, step_errors = [], []
        for index in range(count):
            trajectory = dataset.trajectory(split, index)
            fields = dict(zip(dataset.spec.coefficient_channels, trajectory.coefficient_fields, strict=True))
            conditions = trajectory.parameters | fields
            frames = model.predict(trajectory.state[None, 0], conditions, dataset.times).mean[0].numpy()
            final_errors.append(relative_error(frames[-1], trajectory.state[-1]))
            step_errors.append(
                [
                    relative_error(
                        model.predict(trajectory.state[None, t], conditions, dataset.times[t : t + 2])
                        .mean[0, 1]
                        .numpy(),
                        trajectory.state[t + 1],
                    )
                    for t in range(len(dataset.times) - 1)
                ]
            )
        split_result = results["splits"][split]
        np.testing.assert_allclose(split_result["by_trajectory"]["rollout_end"], final_errors, rtol=1e-5)
        errors = split_result["errors"]["surrogate"]
        np.testing.assert_allclose(
            errors["one_step"]["relative_l2"]["temperature"]["median"],
            np.median(step_errors, axis=0),
            rtol=1e-5,
        )
        assert errors["rollout"]["relative_l2"]["temperature"]["max"][-1] == pytest.approx(
            max(final_errors), rel=1e-5
        )
        assert split_result["headline"]["surrogate"]["one_step"]["mean"] == pytest.approx(
            np.mean(step_errors), rel=1e-5
        )


def test_the_errors_of_the_baselines_follow_from_the_shards(evaluated_run):
    frames = []
    for path in sorted((evaluated_run / "dataset" / "data" / "test").glob("*.hdf5")):
        with h5py.File(path) as shard:
            frames.extend(shard["t0_fields/temperature"][:])
    persistence_errors = [[relative_error(u[0], u[t]) for t in range(1, len(u))] for u in frames]
    step_errors = [[relative_error(u[t - 1], u[t]) for t in range(1, len(u))] for u in frames]
    training_states = []
    for path in sorted((evaluated_run / "dataset" / "data" / "train").glob("*.hdf5")):
        with h5py.File(path) as shard:
            training_states.append(np.float64(shard["t0_fields/temperature"][:]))
    training_mean = np.concatenate(training_states).mean()
    mean_errors = [
        [relative_error(np.full_like(u[t], training_mean), u[t]) for t in range(1, len(u))] for u in frames
    ]
    errors = read_metrics(evaluated_run)["splits"]["test"]["errors"]
    assert list(errors) == ["surrogate", "persistence", "mean", "ridge", "dmd"]
    for predictor, mode, expected in (
        ("persistence", "rollout", persistence_errors),
        ("persistence", "one_step", step_errors),
        ("mean", "rollout", mean_errors),
        ("mean", "one_step", mean_errors),
    ):
        medians = errors[predictor][mode]["relative_l2"]["temperature"]["median"]
        np.testing.assert_allclose(medians, np.median(expected, axis=0), rtol=1e-5)


def test_the_metrics_in_units_follow_from_the_shards(evaluated_run):
    dataset = Dataset.open(evaluated_run / "dataset")
    model = surrogates.load(evaluated_run / "models" / "fno")
    trajectories = [dataset.trajectory("test", index) for index in range(5)]
    predictions = []
    for trajectory in trajectories:
        fields = dict(zip(dataset.spec.coefficient_channels, trajectory.coefficient_fields, strict=True))
        conditions = trajectory.parameters | fields
        predictions.append(
            model.predict(trajectory.state[None, 0], conditions, dataset.times).mean[0].numpy()
        )
    truths = [np.float64(trajectory.state) for trajectory in trajectories]
    result = schema.read(evaluation_folder(evaluated_run) / "metrics.json").splits["test"]
    rmse = result.metrics["rmse"]["temperature"]
    series = [
        [np.sqrt(np.mean((p - u) ** 2)) for p, u in zip(*pair, strict=True)]
        for pair in zip(predictions, truths, strict=True)
    ]
    np.testing.assert_allclose(rmse.surrogate["rollout"].median, np.median(series, axis=0)[1:], rtol=1e-5)
    assert rmse.rollout_end["surrogate"].median == rmse.surrogate["rollout"].median[-1]
    persistence = [np.abs(u[0] - u[-1]).max() for u in truths]
    assert result.metrics["max_error"]["temperature"].rollout_end["persistence"].median == pytest.approx(
        np.median(persistence), rel=1e-5
    )
    assert result.metrics["rmse"]["temperature"].unit == dataset.spec.fields[0].unit
    interval = result.headline["surrogate"].rollout_end_interval
    assert interval.low <= result.headline["surrogate"].rollout_end.median <= interval.high
    medians = {name: headline.rollout_end.median for name, headline in result.headline.items()}
    for name, comparison in result.comparisons.items():
        assert comparison.ratio == pytest.approx(medians[name] / medians["surrogate"])
    assert list(result.comparisons) == ["persistence", "mean", "ridge", "dmd"]
    # 24 cells resolve 12 wave numbers.
    assert len(result.spectra["temperature"].wave_number) == 12
    assert {"divergence", "crps", "lyapunov", "energy_drift", "seeds"} <= result.skipped.keys()


def test_each_part_of_the_report_that_does_not_apply_says_why(evaluated_run, tmp_path):
    metrics = schema.read(evaluation_folder(evaluated_run) / "metrics.json")
    assert metrics.baselines["linear"] == (
        "The linear solution is not compared, because the solver has no solution without nonlinear terms."
    )
    reason = "The surrogate is not compared with its solver, because evaluation.worth is 0."
    assert list(metrics.skipped) == ["worth"]
    assert metrics.skipped["worth"].startswith(reason)
    baselines = baselines_part(metrics, "test", tmp_path).sentences
    assert metrics.baselines["linear"] in baselines
    assert f"Errors of the solver on coarser grids are missing. {metrics.skipped['worth']}" in baselines
    folder = RunFolder.at(evaluated_run).with_model("fno")
    dataset = Dataset.open(evaluated_run / "dataset")
    model = surrogates.load(folder.model_folder)
    metrics = metrics.model_copy(update={"training_speed": (), "data_errors": {}})
    context = ReportContext(folder, tmp_path, model, dataset, metrics, 0, "There are no gradients.")
    sentences = {part.anchor: list(part.sentences) for part in report.parts(context)}
    assert sentences["worth"][0].startswith(reason)
    assert sentences["example"] == ["No trajectory is drawn, because evaluation.figures is 0."]
    assert sentences["attribution"] == ["There are no gradients."]
    assert "because the model has no log" in sentences["training-speed"][0]
    assert any("error of the data themselves is not known" in text for text in sentences["errors"])


@pytest.mark.parametrize(
    ("solver", "coarsening", "reason"),
    [
        (None, None, "was adopted from files"),
        ("other", None, "quantities of interest"),
        ("same", Coarsening((2, 2), "cell_averages"), "averages over cells"),
        ("same", None, "no solution without nonlinear terms"),
    ],
)
def test_a_missing_linear_solution_has_its_reason(solver, coarsening, reason):
    spec = problems.grid_problem((8, 8), ("periodic", "periodic")).spec
    of_data = dataclasses.replace(spec, coarsening=coarsening)
    solvers = {"same": spec, "other": dataclasses.replace(spec, fields=spec.fields + spec.fields)}
    built = None if solver is None else SimpleNamespace(spec=solvers[solver])
    assert reason in missing_linear_solution(built, of_data)


def test_the_training_has_a_log_for_mlcommons(evaluated_run):
    metrics = schema.read(evaluation_folder(evaluated_run) / "metrics.json")
    (speed,) = metrics.training_speed
    assert speed.model == "fno"
    assert speed.communicating == 0
    lines = (evaluation_folder(evaluated_run) / "mlperf.log").read_text().splitlines()
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    assert next(entry["value"] for entry in entries if entry["key"] == "global_batch_size") == 4
    record = json.loads(next((evaluated_run / "records").glob("train-*.json")).read_text())
    start = next(entry["time_ms"] for entry in entries if entry["key"] == "run_start")
    assert start == round(1000 * datetime.datetime.fromisoformat(record["started"]).timestamp())


def test_the_parts_of_the_report_state_the_numbers(evaluated_run, tmp_path):
    metrics = schema.read(evaluation_folder(evaluated_run) / "metrics.json")
    parts = [
        metrics_part(metrics, "test"),
        baselines_part(metrics, "test", tmp_path),
        spectra_part(metrics, "test", tmp_path),
        speed_part(metrics),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {
        "test-baselines.svg",
        "test-spectra-temperature.svg",
    }
    for part in parts:
        assert part.sentences
        for figure in part.figures:
            assert re.fullmatch(EVALUATION_FIGURE_NAME, figure.path.name)
            assert b"<svg" in figure.path.read_bytes()
        for table in part.tables:
            assert {len(row) for row in table.rows} == {len(table.headings)}
    (table,) = parts[0].tables
    rmse = metrics.splits["test"].metrics["rmse"]["temperature"].rollout_end["dmd"].median
    assert next(row for row in table.rows if row[0] == "RMSE")[-1] == f"{rmse:.3g} K"
    text = " ".join(sentence for part in parts for sentence in part.sentences)
    assert "Ridge regression on" in text
    assert "Not measured: divergence over gradient. The data have no divergence-free vector field." in text


def test_several_ranks_compute_the_same_errors(trained_run, evaluated_run, tmp_path):
    run = copy_run(trained_run, tmp_path)
    result = evaluate(run, ranks=3)
    assert result.stdout.count("evaluate: wrote") == 1
    for section in ("splits", "intervals", "confidence", "attribution"):
        assert read_metrics(run)[section] == read_metrics(evaluated_run)[section], section


def test_a_complete_evaluation_is_skipped_unless_its_options_change(evaluated_run, tmp_path):
    run = copy_run(evaluated_run, tmp_path)
    page = evaluation_folder(run) / "report.html"
    modification_time = page.stat().st_mtime_ns
    output = evaluate(run).stdout
    assert "nothing to do" in output
    assert output.splitlines()[-1].startswith(f"evaluate: kept {run}/models/")
    assert page.stat().st_mtime_ns == modification_time
    assert json.loads((run / "records" / "evaluate-001.json").read_text())["skipped"] is True
    assert "nothing to do" not in evaluate(run, "evaluation.figures=0").stdout
    assert not list((evaluation_folder(run) / "figures").glob("test-0*.png"))


def test_a_killed_evaluation_leaves_no_report_and_is_repeated(evaluated_run, tmp_path):
    run = copy_run(evaluated_run, tmp_path)
    no_figures = "evaluation.figures=0"
    command = [launching.sys.executable, *EVALUATE_FAULTS, "killed", f"run={run}", *OVERRIDES, no_figures]
    assert launching.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert not (evaluation_folder(run) / "report.html").exists()
    assert "nothing to do" not in evaluate(run, no_figures).stdout
    assert (evaluation_folder(run) / "report.html").is_file()


@pytest.mark.fault(
    "a rank hangs in evaluate",
    cause="SIGSTOP to rank 1 of 2",
    result="all ranks end; the message names the silent rank",
    lost="the evaluation",
)
def test_a_stopped_rank_ends_all_ranks_by_name(trained_run, tmp_path):
    run = copy_run(trained_run, tmp_path)
    command = launching.forked_mpi_command(2, *EVALUATE_FAULTS, "stopped", f"run={run}", *OVERRIDES)
    start = time.monotonic()
    result = launching.run(command, cwd=ROOT)
    assert time.monotonic() - start < 60
    assert result.returncode != 0
    assert "[rank 0 of 2] error: rank 1 (process " in result.stderr
    assert "has been silent for 0:00:02. All ranks must run." in result.stderr
    assert not (evaluation_folder(run) / "report.html").exists()


@NEEDS_ROOT
@pytest.mark.fault(
    "the disk is full while evaluate writes",
    cause="tmpfs with 40 kB free",
    result="message with the sizes; no report and no partial file; the next run is complete",
    lost="the evaluation",
)
def test_a_full_disk_leaves_no_report_and_no_partial_file(trained_run, tmp_path):
    with mounted_disk(tmp_path, "4m") as disk:
        run = copy_run(trained_run, disk)
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 40_000))
        result = run_stage("evaluate", f"run={run}", *OVERRIDES)
        assert result.returncode == 2, result.stderr
        assert re.search(
            r"cannot write the \d+ bytes of .*: No space .* free. Make room, then", result.stderr
        )
        assert "Traceback" not in result.stderr
        assert not (evaluation_folder(run) / "report.html").exists()
        assert not list(disk.rglob("*.partial*"))
        (disk / "ballast").unlink()
        evaluate(run)
        assert (evaluation_folder(run) / "report.html").is_file()


def test_the_report_refers_to_no_other_file(evaluated_run):
    page = (evaluation_folder(evaluated_run) / "report.html").read_text()
    assert "<script" not in page
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"https?://|//[a-z]+\.", re.sub(r"data:image/[^\"]+", "", page))
    for phrase in ("smaller error than persistence", "larger error than persistence"):
        if phrase in page:
            break
    else:
        pytest.fail("the report has no verdict")
    for phrase in (
        "mean diffusivity",
        "python -m pipeline.train",
        "VRMSE",
        Dataset.open(evaluated_run / "dataset").identity,
    ):
        assert phrase in page


def test_text_from_a_data_set_is_escaped_in_the_report(evaluated_run, tmp_path):
    dataset = Dataset.open(evaluated_run / "dataset")
    model = surrogates.load(evaluated_run / "models" / "fno")
    spec = dataset.spec
    field = dataclasses.replace(spec.fields[0], unit='"><img src=http://example.org>')
    equation = "u < v & <script>alert('{{ 7 * 7 }}')</script>"
    dataset.spec = dataclasses.replace(spec, equation=equation, fields=(field,))
    folder = RunFolder.at(evaluated_run).with_model("fno")
    metrics = schema.read(folder.evaluation / "metrics.json")
    page = report.render(ReportContext(folder, tmp_path, model, dataset, metrics, 0, "No gradients."))
    assert "<script" not in page
    assert "<img src=http" not in page
    assert "&#34;&gt;&lt;img src=http://example.org&gt;" in page
    assert "u &lt; v &amp; &lt;script&gt;alert(&#39;{{ 7 * 7 }}&#39;)" in page


def test_a_diverged_model_is_reported_as_diverged(trained_run, tmp_path):
    run = copy_run(trained_run, tmp_path)
    folder = run / "models" / "fno"
    model, description = surrogates.load(folder), store.description(folder)
    with torch.no_grad():
        for weights in model.parameters():
            weights.fill_(1e30)
    metadata = {key: description[key] for key in ("configuration", "valid_error", "step", "versions")}
    store.save(folder, model, "fno", description["options"], metadata)
    assert "diverges" in " ".join(evaluate(run, "evaluation.figures=2").stdout.split())
    headline = read_metrics(run)["splits"]["test"]["headline"]
    assert headline["surrogate"]["rollout_end"]["median"] is None
    assert headline["persistence"]["rollout_end"]["median"] > 0
    assert "diverges" in (evaluation_folder(run) / "report.html").read_text()


def test_a_missing_model_is_refused_with_the_command_that_trains_it(trained_run):
    result = run_stage("evaluate", f"run={trained_run}/nowhere", f"dataset={trained_run}/dataset")
    assert result.returncode == 2
    assert f"python -m pipeline.train run={trained_run}/nowhere surrogate=fno" in result.stderr
    assert "Traceback" not in result.stderr


def replace_model(run: Path, **changes) -> None:
    """Save an untrained model of a changed problem in place of the model of a run."""
    folder = run / "models" / "fno"
    description = store.description(folder)
    problem = problems.change_problem(surrogates.load(folder).problem, **changes)
    model = store.build("fno", description["options"], problem, "float32")
    metadata = {key: description[key] for key in ("configuration", "valid_error", "step", "versions")}
    store.save(folder, model, "fno", description["options"], metadata)


def test_a_foreign_model_is_refused_on_every_rank(trained_run, tmp_path):
    run = copy_run(trained_run, tmp_path)
    sites = Grid((Axis("x", "m", 24, 0.0, 2.0, "dirichlet", (1.0, 2.0)),))
    replace_model(run, sites=sites, time_step=0.5)
    result = run_stage("evaluate", f"run={run}", *OVERRIDES, ranks=2, timeout=60)
    assert result.returncode != 0
    assert "extent: the model has (2.0,), the data set (1.0,)" in result.stderr
    assert "boundaries: the model has ('dirichlet',), the data set ('periodic',)" in result.stderr
    assert "boundary_values: the model has ((1.0, 2.0),), the data set ((0.0, 0.0),)" in result.stderr
    assert "time_step: the model has 0.5" in result.stderr
    assert "Traceback" not in result.stderr
    assert not evaluation_folder(run).exists()


def test_changed_statistics_of_a_model_are_refused_on_its_own_data_set(trained_run, tmp_path):
    run = copy_run(trained_run, tmp_path)
    statistics = surrogates.load(run / "models" / "fno").problem.statistics
    mean = tuple(value + 1.0 for value in statistics.mean)
    replace_model(run, statistics=dataclasses.replace(statistics, mean=mean))
    result = run_stage("evaluate", f"run={run}", *OVERRIDES)
    assert result.returncode == 2
    assert "model.json differs from its own data set" in result.stderr
    assert "statistics.mean: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.fault(
    "a model meets data of another equation",
    cause="a changed model.json",
    result="refused with both names",
    lost="nothing",
)
def test_a_model_of_another_equation_or_other_parameters_is_refused(trained_run, tmp_path):
    run = copy_run(trained_run, tmp_path)
    parameters = surrogates.load(run / "models" / "fno").problem.spec.parameters
    speed_parameter = dataclasses.replace(parameters[0], name="speed")
    replace_model(run, name="advection", parameters=(speed_parameter, *parameters[1:]))
    result = run_stage("evaluate", f"run={run}", *OVERRIDES)
    assert result.returncode == 2
    assert "name: the model has 'advection', the data set 'heat'" in result.stderr
    assert "parameter_names: the model has ('speed', " in result.stderr
    assert "Train on this data set, or name the model's own data set with dataset=" in result.stderr
    assert not evaluation_folder(run).exists()


def test_a_model_of_parametric_data_is_refused_on_random_fields(tmp_path):
    problem = problems.fading_problem()
    folders = (tmp_path / "model", tmp_path / "dataset")
    for name in ("fno", "pinn"):
        model = store.build(name, problems.options(name), problem, "float32")
        trained_model.refuse_mismatch(model, problem, *folders)
    with pytest.raises(
        UserError, match=r"does not fit the data set .*\n.*these data have random initial fields"
    ):
        trained_model.refuse_mismatch(model, problems.change_problem(problem, parametric=False), *folders)
