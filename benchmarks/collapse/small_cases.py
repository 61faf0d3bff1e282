"""Two published cases of model collapse next to their theory: linear regression and the fit of a Gaussian.

    python -m benchmarks.collapse.small_cases

**Linear regression** (Gerstgrasser et al. 2024, arXiv 2404.01413; Dohmatob et al. 2024, arXiv 2402.07712).
Least squares fits d weights to T labels y = X w + e, with features X of N(0, 1) and noise e of N(0, s^2). The
labels of the first generation have the true weights w, and the labels of generation n + 1 have the fitted
weights w_n. `replace` fits the T newest labels, and `accumulate` fits the labels of all generations. The test
error is the mean of (x . (w_n - w))^2 over new features x, which is |w_n - w|^2. With the sum S_n of all
X_i' X_i, the normal equations give uncorrelated steps:

    replace:     w_n - w_(n-1) = (X_n' X_n)^-1 X_n' e_n    E |step|^2 = s^2 d / (T - d - 1)
    accumulate:  w_n - w_(n-1) = S_n^-1 X_n' e_n           E |step|^2 = s^2 / n E tr(S_n^-1)

The second expectation holds because the n terms of S_n are exchangeable. E tr(S_n^-1) is d / (n T - d - 1) if
each generation draws new features, and d / (n (T - d - 1)) if all generations have the features of the first.
The steps of the second case are 1 / n^2 times the first error, and the steps of the first case are smaller.
The error of `replace` is n times the first error. The error of `accumulate` stays below pi^2 / 6 times the
first error.

**Fit of a Gaussian** (Shumailov et al. 2023, arXiv 2305.17493). Each generation fits mean and variance to M
values of the fit before it, starting with N(0, 1). With k = M - 1, the unbiased variance v_n is v_(n-1) times
a chi-squared number of k degrees of freedom over k:

    geometric mean of v_n = exp(n (digamma(k / 2) - log(k / 2))) = exp(-n / k - n / (3 k^2) - ...)
    mean of v_n = 1

The published exp(-n / (M - 1)) is the geometric mean, and with it the median: log v_n is a sum of n equal
terms. The mean stays 1 because ever fewer repeats have ever larger variances. The variance of maximum
likelihood, with 1 / M in place of 1 / (M - 1), has another factor 1 - 1 / M in each generation, so its mean
is (1 - 1 / M)^n: exp(-n / (M - 1)) to first order, too.

Repeat i draws all its numbers from a Philox generator with the key i. The numbers do not depend on how many
repeats run, and all policies share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.support.measuring import print_and_store

#: The number of repeats of the published figures, and of the comparison with the theory.
PUBLISHED_REPEATS, REPEATS = 400, 20_000
GENERATIONS = 20
#: The number of repeats that are in memory at once.
_BLOCK = 100


@dataclass(frozen=True)
class Regression:
    """The size of a linear regression: the weights, the labels of a generation, and the noise."""

    dimension: int = 20
    labels: int = 100
    noise: float = 1.0


@dataclass(frozen=True)
class Policy:
    """The labels that a generation fits, and the features that it draws."""

    accumulates: bool
    has_new_features: bool

    def theory(self, regression: Regression, generations: int) -> np.ndarray:
        """Return the expected test error of each generation."""
        d, labels = regression.dimension, regression.labels
        generation = np.arange(1, generations + 1)
        if not self.accumulates:
            steps = np.full(generations, d / (labels - d - 1))
        elif self.has_new_features:
            steps = d / (generation * labels - d - 1) / generation
        else:
            steps = d / (labels - d - 1) / generation**2
        return regression.noise**2 * np.cumsum(steps)


POLICIES = {
    "replace": Policy(accumulates=False, has_new_features=True),
    "accumulate": Policy(accumulates=True, has_new_features=True),
    "replace, same features": Policy(accumulates=False, has_new_features=False),
    "accumulate, same features": Policy(accumulates=True, has_new_features=False),
}
#: The published errors of the first and the last of 20 generations, from 400 repeats, without the sizes. The
#: sizes of `Regression` give 5.063 for the last `replace`. The last `accumulate` is that of new features.
PUBLISHED = {"replace": (0.249, 5.063), "accumulate": (0.252, 0.379)}


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats with its standard error; arrays for several generations."""

    value: np.ndarray
    standard_error: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Estimate:
        """Return the mean over the first axis."""
        return cls(values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(len(values)))


def geometric_mean(values: np.ndarray) -> Estimate:
    """Return the geometric mean over the first axis."""
    logarithm = Estimate.of(np.log(values))
    mean = np.exp(logarithm.value)
    return Estimate(mean, mean * logarithm.standard_error)


def regression_errors(regression: Regression, generations: int, repeats: int) -> dict[str, np.ndarray]:
    """Return the test error of each policy, (repeats, generations)."""
    shape = (generations, regression.labels)
    blocks = []
    for rngs in _blocks(repeats):
        truth = np.empty((len(rngs), regression.dimension))
        features = np.empty((len(rngs), *shape, regression.dimension))
        noise = np.empty((len(rngs), *shape))
        for index, rng in enumerate(rngs):
            for array in (truth, features, noise):
                rng.standard_normal(out=array[index])
        noise *= regression.noise
        blocks.append({name: _errors(policy, truth, features, noise) for name, policy in POLICIES.items()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in POLICIES}


def _errors(policy: Policy, truth: np.ndarray, features: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Fit generation after generation, and return the test errors, (repeats, generations)."""
    errors = np.empty(noise.shape[:2])
    weights = truth[..., None]
    gram, moment = np.zeros((), dtype=float), np.zeros((), dtype=float)
    for generation in range(noise.shape[1]):
        X = features[:, generation if policy.has_new_features else 0]
        labels = X @ weights + noise[:, generation, :, None]
        if policy.accumulates:
            gram, moment = gram + X.mT @ X, moment + X.mT @ labels
        else:
            gram, moment = X.mT @ X, X.mT @ labels
        weights = np.linalg.solve(gram, moment)
        errors[:, generation] = ((weights[..., 0] - truth) ** 2).sum(axis=1)
    return errors


def gaussian_variances(samples: int, generations: int, repeats: int, *, unbiased: bool) -> np.ndarray:
    """Return the variance that each generation fits to `samples` values, (repeats, generations)."""
    blocks = []
    for rngs in _blocks(repeats):
        normals = np.stack([rng.standard_normal((generations, samples)) for rng in rngs])
        mean, variance = np.zeros((len(rngs), 1)), np.ones((len(rngs), 1))
        variances = np.empty((len(rngs), generations))
        for generation in range(generations):
            values = mean + np.sqrt(variance) * normals[:, generation]
            mean = values.mean(axis=1, keepdims=True)
            variance = values.var(axis=1, keepdims=True, ddof=int(unbiased))
            variances[:, generation] = variance[:, 0]
        blocks.append(variances)
    return np.concatenate(blocks)


def log_variance_theory(samples: int) -> float:
    """Return the mean of log v_n - log v_(n-1) for the unbiased variance of `samples` values."""
    degrees = samples - 1
    # The digamma function of a half of an integer (Abramowitz and Stegun 1964, 6.3.2 and 6.3.4).
    if degrees % 2:
        digamma = -np.euler_gamma - 2 * math.log(2) + sum(2 / j for j in range(1, degrees, 2))
    else:
        digamma = -np.euler_gamma + sum(1 / j for j in range(1, degrees // 2))
    return float(digamma - math.log(degrees / 2))


def _blocks(repeats: int) -> Iterator[list[np.random.Generator]]:
    """Yield the generators of all repeats in blocks."""
    for start in range(0, repeats, _BLOCK):
        indices = range(start, min(start + _BLOCK, repeats))
        yield [np.random.Generator(np.random.Philox(key=index)) for index in indices]


def main() -> None:
    """Print and store the measured values next to the theory."""
    rows = [*_regression_rows(Regression()), *_gaussian_rows(samples=50, generations=200)]
    claim = "Model collapse, two published cases: measured values with standard errors, and theory"
    print_and_store("small_cases", claim, rows, ["numpy"])


def _regression_rows(regression: Regression) -> Iterator[dict[str, object]]:
    errors = regression_errors(regression, GENERATIONS, REPEATS)
    for name, policy in POLICIES.items():
        theory = policy.theory(regression, GENERATIONS)
        for position, generation in enumerate((1, GENERATIONS)):
            yield {
                "case": f"linear regression, d = {regression.dimension}, T = {regression.labels}",
                "quantity": f"test error, {name}",
                "generation": generation,
                "published": f"{PUBLISHED[name][position]:.3f}" if name in PUBLISHED else "",
                "theory": f"{theory[generation - 1]:.4f}",
                **_measured(errors[name][:, generation - 1], Estimate.of),
            }


def _gaussian_rows(samples: int, generations: int) -> Iterator[dict[str, object]]:
    unbiased, biased = (
        gaussian_variances(samples, generations, REPEATS, unbiased=choice) for choice in (True, False)
    )
    factor = math.exp(log_variance_theory(samples))
    # After 200 generations, a few of the repeats carry the mean, so that 20 000 repeats do not measure it.
    for quantity, generation, theory, values, estimate in (
        ("unbiased variance, geometric mean", GENERATIONS, factor**GENERATIONS, unbiased, geometric_mean),
        ("unbiased variance, geometric mean", generations, factor**generations, unbiased, geometric_mean),
        ("unbiased variance, mean", GENERATIONS, 1.0, unbiased, Estimate.of),
        (
            "variance of maximum likelihood, mean",
            GENERATIONS,
            (1 - 1 / samples) ** GENERATIONS,
            biased,
            Estimate.of,
        ),
    ):
        yield {
            "case": f"fit of a Gaussian, M = {samples}",
            "quantity": quantity,
            "generation": generation,
            "published": f"exp(-n/(M-1)) = {math.exp(-generation / (samples - 1)):.4f}",
            "theory": f"{theory:.4f}",
            **_measured(values[:, generation - 1], estimate),
        }


def _measured(values: np.ndarray, estimate: Callable[[np.ndarray], Estimate]) -> dict[str, object]:
    """Return the cells of the published number of repeats and of all repeats."""
    cells: dict[str, object] = {}
    for repeats in (PUBLISHED_REPEATS, REPEATS):
        result = estimate(values[:repeats])
        cells[f"{repeats} repeats"] = f"{float(result.value):.4f} ± {float(result.standard_error):.4f}"
    return cells


if __name__ == "__main__":
    main()
