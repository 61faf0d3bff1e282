"""The energy spectra of predicted and true flows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import simsurrogate
from pipeline.evaluation import cases

_NUM_TRAJECTORIES = 8


def draw_spectra(run: Path, model: Path, path: Path) -> None:
    """Draw the energy spectra of the last frame, mean over test trajectories, into the PNG file `path`."""
    dataset, surrogate = simsurrogate.open_dataset(run), simsurrogate.load(model)
    channels = [dataset.spec.channels.index(f"velocity_{axis}") for axis in "xy"]
    test = cases.load(dataset, "test", range(_NUM_TRAJECTORIES))
    predicted = cases.predict(surrogate, test, 0, len(test.time) - 1)[:, -1]
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, states in (("truth", test.state[:, -1]), ("prediction", predicted)):
        energy = _energy_spectrum(states[:, channels]).mean(axis=0)
        axes.loglog(np.arange(1, len(energy)), energy[1:], label=name)
    axes.set(xlabel="wave number, 1 / box", ylabel="energy, m²/s²", title=f"t = {test.time[-1]:g} s")
    axes.legend()
    figure.savefig(path, dpi=110)


def _energy_spectrum(velocity: np.ndarray) -> np.ndarray:
    """Return the kinetic energy of each shell of wave numbers, for velocities (B, 2, n, n)."""
    num = velocity.shape[-1]
    energy = 0.5 * (np.abs(np.fft.fft2(velocity) / num**2) ** 2).sum(axis=1)
    wave = np.fft.fftfreq(num, 1 / num)
    shell = np.rint(np.hypot(wave[:, None], wave)).astype(int)
    return np.array([energy[:, shell == index].sum(axis=1) for index in range(num // 2)]).T
