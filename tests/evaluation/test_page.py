"""The page of a report, the model card and the comparison of a small run on a grid of two dimensions."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline import compare, evaluate
from pipeline.data.dataset import Dataset
from pipeline.evaluation import schema
from pipeline.evaluation.report.trajectories import example_part
from pipeline.plots.labels import rounded_text, unit_words
from pipeline.plots.maps import Scale, draw_map
from pipeline.runs.folder import RunFolder
from tests.support.trainings.training_cases import (
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)

#: Four bytes of base64 hold three bytes.
_MAX_PAGE_BYTES = 5_000_000
_TRAINING = ("training.steps=5", "training.warmup_steps=1", "surrogate.modes=3", "surrogate.layers=1")


class Page(HTMLParser):
    """The tags of a page, with their attributes and the text of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self._is_heading = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_heading = tag in ("h1", "h2")

    def handle_data(self, data: str) -> None:
        if self._is_heading:
            self.headings.append(data)
            self._is_heading = False

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attributes.get(attribute) or "" for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the paths of a run whose model was evaluated with pictures of three trajectories."""
    folder = tmp_path_factory.mktemp("page")
    dataset = generate_dataset(
        folder,
        "solver.extent=[1.0,1.0]",
        "solver.resolution=12",
        "samples={train: 4, valid: 2, test: 4, test_extrapolation: 2, per_shard: 4}",
    )
    train_model(folder, dataset, *_TRAINING)
    options = ("evaluation.figures=3", "evaluation.worth=1")
    settings = read_settings(*tiny_arguments(folder, dataset, *_TRAINING, *options))
    card = RunFolder.of(settings).model_card
    assert "This model is not evaluated" in card.read_text()
    assert "model-index" not in front_matter(card)
    evaluate.run(settings)
    return RunFolder.of(settings)


@pytest.fixture(scope="module")
def page(run: RunFolder) -> Page:
    return Page(run.report.read_text())


def front_matter(card: Path) -> dict[str, Any]:
    start, content, _ = card.read_text().split("---\n", 2)
    assert start == ""
    entries: dict[str, Any] = yaml.safe_load(content)
    return entries


def test_the_page_starts_with_the_verdict_and_follows_the_order_of_reading(page: Page) -> None:
    assert page.headings[0] == "Fourier neural operator (FNO) for heat conduction in 2-D"
    anchors = [name for name in page.values("section", "id") if name]
    own_anchors = [
        "worth", "example", "errors", "baselines", "spectra", "metrics", "parameters", "cases",
        "test_extrapolation", "test_extrapolation-cases", "tables", "problem", "origin", "training-speed",
        "commands", "definitions",
    ]  # fmt: skip
    # Other parts may stand between these.
    assert [name for name in anchors if name in own_anchors] == own_anchors
    order = [attributes.get("id") for _, attributes in page.tags]
    assert order.index("verdict") < order.index("worth")
    assert [link.removeprefix("#") for link in page.values("a", "href")] == anchors
    identities = [identity for identity in order if identity]
    assert len(identities) == len(set(identities))


def test_the_verdict_has_a_sign_and_words_besides_its_colour(run: RunFolder) -> None:
    text = run.report.read_text()
    match = re.search(
        r'<div class="verdict (\w+)" id="verdict"><strong>(\S) (.+?)</strong><p>(.+?)</p>', text
    )
    assert match is not None
    assert match[2] in "✔–✖?"
    assert match[1] in ("good", "batches", "useless", "poor", "worse", "open")
    assert len(match[3]) > 3
    assert "%" in match[4]


def test_the_page_is_small_and_needs_no_other_file(run: RunFolder, page: Page) -> None:
    text = run.report.read_text()
    assert len(text.encode()) < _MAX_PAGE_BYTES
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    for source in page.values("img", "src"):
        kind, _, content = source.partition(";base64,")
        data = base64.b64decode(content, validate=True)
        if kind == "data:image/png":
            Image.open(io.BytesIO(data)).verify()
        else:
            assert kind == "data:image/svg+xml"
            svg = re.sub(
                r'xmlns(:\w+)?="[^"]+"|<!DOCTYPE[^>]+>|<metadata>.*?</metadata>',
                "",
                data.decode(),
                flags=re.S,
            )
            assert "http" not in svg
            assert not re.search(r'href="(?!#|data:)', svg)
            assert "prefers-color-scheme" in svg
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[^\"]+", "", text))


def test_every_picture_has_a_text(page: Page) -> None:
    texts = page.values("img", "alt")
    assert len(texts) > 10
    assert all(len(text) > 5 for text in texts)


def test_tables_are_folded_and_maps_have_a_slider_of_even_times(page: Page) -> None:
    assert "open" not in [name for tag, attributes in page.tags if tag == "details" for name in attributes]
    times = [
        attributes["aria-label"]
        for tag, attributes in page.tags
        if tag == "input" and attributes.get("name") == "example1"
    ]
    assert times == [f"t = {time} s" for time in ("0", "0.01", "0.02", "0.03", "0.04", "0.05", "0.06")]


def test_the_maps_hold_the_values_of_the_trajectory(run: RunFolder) -> None:
    dataset = Dataset.open(run.dataset)
    state = dataset.trajectory("test", 0).state[:, 0]
    scale = Scale.of(state)
    assert scale.low == -scale.high
    assert scale.colours == "RdBu_r"
    drawn = draw_map("truth", state, scale, unit="K", extent=(2.0, 1.0), max_pixels=state.size)
    assert drawn.aspect == 2
    assert drawn.num_frames == len(state)
    indices = np.asarray(Image.open(io.BytesIO(drawn.png)))
    # The frames lie below each other, and the vertical axis points upwards.
    frames = indices.reshape(len(state), 12, 12)[:, ::-1].transpose(0, 2, 1)
    expected = (state - scale.low) / (scale.high - scale.low) * 254
    np.testing.assert_allclose(frames, expected, atol=0.51)
    positive = Scale.of(state + 300)
    assert positive.colours == "viridis"
    coarse = draw_map("truth", state, scale, unit="K", extent=(1.0, 1.0), max_pixels=state.size // 4)
    blocks = state.reshape(len(state), 6, 2, 6, 2).mean(axis=(2, 4))
    pixels = np.asarray(Image.open(io.BytesIO(coarse.png))).reshape(len(state), 6, 6)[:, ::-1]
    share = (blocks - scale.low) / (scale.high - scale.low)
    np.testing.assert_allclose(pixels.transpose(0, 2, 1), share * 254, atol=0.51)


def test_a_diverged_prediction_has_grey_cells() -> None:
    values = np.array([[[0.0, 1.0], [np.nan, np.inf]]])
    drawn = draw_map("prediction", values, Scale.of(values), unit="1", extent=(1.0, 1.0), max_pixels=4)
    image = Image.open(io.BytesIO(drawn.png)).convert("RGB")
    assert image.getpixel((1, 0)) == image.getpixel((1, 1)) == (128, 128, 128)
    assert image.getpixel((0, 0)) != (128, 128, 128)


def test_maps_of_noise_leave_room_for_the_rest_of_the_page() -> None:
    # Noise is the largest image. Four bytes of base64 hold three bytes.
    noise = np.random.default_rng(0).normal(size=(21, 300, 300))
    scale = Scale.of(noise)
    pixels = example_part.MAX_MAIN_PIXELS // 3
    png = draw_map("noise", noise, scale, unit="1", extent=(1.0, 1.0), max_pixels=pixels).png
    total_pixels = example_part.MAX_MAIN_PIXELS + example_part.MAX_CASE_PIXELS
    assert len(png) / pixels * total_pixels * 4 / 3 < 0.6 * _MAX_PAGE_BYTES


def test_numbers_and_units_are_written_as_people_write_them() -> None:
    texts = [rounded_text(value) for value in (0.25, -3.0, 1234.5, 2.5e-5, 1e-6, 2e7)]
    assert texts == ["0.25", "−3", "1234", "2.5·10⁻⁵", "10⁻⁶", "2·10⁷"]
    assert [unit_words(unit) for unit in ("m^2/s", "K m^3/s", "1", "s^-2")] == ["m²/s", "K m³/s", "", "s⁻²"]


def test_the_model_card_has_the_documented_front_matter(run: RunFolder) -> None:
    content = front_matter(run.model_card)
    metrics = schema.read(run.evaluation / "metrics.json")
    # The keys of the model card metadata of Hugging Face; there is no license, because none is known.
    assert set(content) == {"library_name", "tags", "datasets", "metrics", "model-index"}
    assert content["datasets"] == [f"heat-{metrics.dataset[:12]}"]
    (model,) = content["model-index"]
    assert model["name"] == "fno"
    assert [entry["dataset"]["split"] for entry in model["results"]] == ["test", "test_extrapolation"]
    for entry in model["results"]:
        assert set(entry) == {"task", "dataset", "metrics"}
        assert {"type", "name"} <= set(entry["task"])
        assert {"type", "name", "split", "revision"} == set(entry["dataset"])
        headline = metrics.splits[entry["dataset"]["split"]].headline["surrogate"]
        first = entry["metrics"][0]
        assert first["type"] in content["metrics"]
        assert first["value"] == pytest.approx(headline.rollout_end.median, rel=1e-5)


def test_the_model_card_states_data_baselines_worth_limits_and_cost(run: RunFolder) -> None:
    text = run.model_card.read_text()
    dataset = Dataset.open(run.dataset)
    for phrase in (
        dataset.identity,
        "4 train, 2 valid, 4 test, 2 test_extrapolation",
        "error of the data themselves, train: ",
        "| persistence | ",
        "Worth, on one thread of ",
        "mean diffusivity | 0.1 | 0.3 m²/s |",
        "12 x 12 cells; boundaries: x periodic, y periodic",
        "core-hours; training",
        "Warning: The split test has only 4 trajectories",
    ):
        assert phrase in text


def test_compare_writes_a_page_with_the_same_numbers_as_csv_and_json(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    compare.main([str(run.path), str(run.path)])
    folder = run.path / "comparison"
    assert f"compare: wrote {folder / 'comparison.html'}" in capsys.readouterr().out
    metrics = schema.read(run.evaluation / "metrics.json")
    models = json.loads((folder / "models.json").read_text())["models"]
    rows = list(csv.DictReader(io.StringIO((folder / "models.csv").read_text())))
    assert len(models) == len(rows) == 2
    headline = metrics.splits["test"].headline
    for model, row in zip(models, rows, strict=True):
        assert model["rollout_end_error_median"] == headline["surrogate"].rollout_end.median
        assert model["persistence_error_median"] == headline["persistence"].rollout_end.median
        for baseline in ("mean", "ridge", "dmd"):
            assert model[f"{baseline}_error_median"] == headline[baseline].rollout_end.median
        # Heat has no solution without nonlinear terms, and the data no calibration split.
        assert model["linear_error_median"] is model["coverage_90_joint"] is None
        data_error = metrics.data_errors["test"]["temperature"]
        assert 0 < model["data_error_median"] == data_error.median[-1]
        assert model["data_error_worst"] == data_error.worst[-1]
        assert metrics.worth is not None
        assert model["query_seconds"] == metrics.worth.surrogate.query_seconds
        assert {key: "" if value is None else str(value) for key, value in model.items()} == row
    comparison = Page((folder / "comparison.html").read_text())
    assert comparison.headings[0] == "Comparison of 2 models"
    # Both rows are the same model.
    assert "The two intervals overlap" in (folder / "comparison.html").read_text()
    assert comparison.values("section", "id") == ["errors", "models", "times", "curves-0"]
    assert all(source.startswith("data:image/") for source in comparison.values("img", "src"))
