"""A learned Hamiltonian of particles, integrated symplectically.

Shape letters: B batch, N particles, D dimensions, P pairs, I inputs, C channels.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Problem

_XI, _LAMBDA, _CHI = 0.1786178958448091, -0.2123418310626054, -0.06626458266981849
_DRIFTS = (_XI, _CHI, 1 - 2 * (_CHI + _XI), _CHI, _XI)
_KICKS = (0.5 - _LAMBDA, _LAMBDA, _LAMBDA, 0.5 - _LAMBDA)

#: Pairs nearer than this share of the particles' usual distance from the origin count as that far apart.
_LEAST_SEPARATION = 1e-6


class Hamiltonian(AutoregressiveSurrogate):
    """Particles that move by Hamilton's equations, whose potential energy is learned.

        H(q, p) = Σ_i |p_i|² / (2 m_i) + Σ_{i<j} φ(r_ij, m_i, m_j),    dq/dt = ∂H/∂p,  dp/dt = -∂H/∂q

    with r_ij the distance of two particles and p = m v. Masses m are given, so the kinetic energy is known;
    φ is a perceptron of ln r and the masses. As H depends on distances alone, momentum and angular
    momentum are conserved to round-off whatever was learned. From one frame to the next there are
    `substeps` steps of the symplectic scheme of fourth order by Omelyan, Mryglod & Folk (2002), four forces
    each; it keeps a modified H near the learned one, so that the energy's error stays bounded in long
    roll-outs while the steps resolve the nearest passages. Training needs frames alone, no time derivatives.

    Scalar parameters are not seen: in the data that fit they tell how the initial state was drawn, and are
    no part of the law.

    Options:
        width: of the perceptron's hidden layers.
        layers: their number.
        substeps: steps of the integrator from frame to frame.

    Raises:
        UserError: the sites are no particles with positions, velocities and masses; the law depends on
            time itself; an option below 1.

    Source: Greydanus, Dzamba & Yosinski 2019 (arXiv 1906.01563), who learn H from time derivatives; through
    an integrator: Chen, Zhang, Arjovsky & Bottou 2020 (arXiv 1909.13334). Scheme: PEFRL of Omelyan, Mryglod
    & Folk 2002 (arXiv cond-mat/0110585).
    """

    first: torch.Tensor
    second: torch.Tensor

    def __init__(self, problem: Problem, *, width: int, layers: int, substeps: int):
        super().__init__(problem)
        if min(width, layers, substeps) < 1:
            raise UserError(
                f"surrogate.width={width}, surrogate.layers={layers} and surrogate.substeps={substeps} "
                "must be at least 1"
            )
        pairs = np.array(list(itertools.combinations(range(problem.spec.shape[0]), 2))).T
        self.register_buffer("first", torch.from_numpy(pairs[0].copy()), persistent=False)
        self.register_buffer("second", torch.from_numpy(pairs[1].copy()), persistent=False)
        self.dimension = len(problem.spec.channels) // 2
        self.step_length = problem.time_step / substeps
        self.substeps = substeps
        typical = np.hypot(problem.statistics.mean, problem.statistics.std)
        self.length = float(np.linalg.norm(typical[: self.dimension])) or 1.0
        speed = float(np.linalg.norm(typical[self.dimension :])) or 1.0
        self.mass = problem.statistics.coefficient_mean[0] or 1.0
        self.energy_scale = speed**2 / self.mass
        self.potential = PairPotential(width, layers)

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """See `Surrogate.incompatibility`."""
        directions = problem.spec.sites.directions
        needed = tuple(f"{name}_{way}" for name in ("position", "velocity") for way in directions)
        if not problem.spec.has_particles or problem.spec.shape[0] < 2:
            return "it needs two particles or more"
        if problem.spec.channels != needed or problem.spec.coefficient_channels != ("mass",):
            found = ", ".join((*problem.spec.channels, *problem.spec.coefficient_channels))
            return f"it needs positions, velocities and masses ({', '.join(needed)}, mass), not {found}"
        if not problem.spec.autonomous:
            return "its law depends on time itself, so that no energy is conserved"
        return None

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """The normalised change over one time step, (B, N, C)."""
        num_channels = len(self.problem.spec.channels)
        state_BNC = inputs_BXI[..., :num_channels]
        given = self.inputs
        physical_BNC = state_BNC * given.state_std + given.state_mean
        mass_BN = (inputs_BXI[..., num_channels:] * given.coefficient_std + given.coefficient_mean)[..., 0]
        begin = physical_BNC[..., : self.dimension], physical_BNC[..., self.dimension :]
        x_BND, v_BND = self._integrate(*begin, mass_BN)
        moved_BNC = torch.cat([x_BND - begin[0], v_BND - begin[1]], dim=-1)
        return moved_BNC / (given.state_std * self.delta_scale)

    def energy(self, state: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
        """H (J) of states (B, C, N) with masses (B, N), up to a constant for each set of masses; (B,)."""
        x_BND, v_BND = state.movedim(1, -1).tensor_split(2, dim=-1)
        _, _, potential_BP, _ = self._pairs(x_BND, mass)
        kinetic_BN = 0.5 * mass * v_BND.square().sum(-1)
        return kinetic_BN.sum(-1) + potential_BP.sum(-1)

    def _integrate(
        self, x_BND: torch.Tensor, v_BND: torch.Tensor, mass_BN: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.step_length
        for _ in range(self.substeps):
            for drift, kick in zip(_DRIFTS, _KICKS, strict=False):
                x_BND = x_BND + drift * h * v_BND
                v_BND = v_BND + kick * h * self._acceleration(x_BND, mass_BN)
            x_BND = x_BND + _DRIFTS[-1] * h * v_BND
        return x_BND, v_BND

    def _acceleration(self, x_BND: torch.Tensor, mass_BN: torch.Tensor) -> torch.Tensor:
        """-∂H/∂q over the masses, (B, N, D): what each pair does to one it does to the other, reversed."""
        apart_BPD, square_BP, _, slope_BP = self._pairs(x_BND, mass_BN)
        pull_BPD = (slope_BP / square_BP)[..., None] * apart_BPD
        force_BND = torch.zeros_like(x_BND).index_add(1, self.first, pull_BPD)
        return force_BND.index_add(1, self.second, -pull_BPD) / mass_BN[..., None]

    def _pairs(
        self, x_BND: torch.Tensor, mass_BN: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of each pair: x_j - x_i (B, P, D), r², φ and ∂φ/∂(ln r), each (B, P)."""
        apart_BPD = x_BND.index_select(1, self.second) - x_BND.index_select(1, self.first)
        square_BP = apart_BPD.square().sum(-1).clamp_min((_LEAST_SEPARATION * self.length) ** 2)
        first = mass_BN.index_select(1, self.first) / self.mass
        second = mass_BN.index_select(1, self.second) / self.mass
        logarithm = 0.5 * torch.log(square_BP / self.length**2)
        symmetric = torch.stack([logarithm, 0.5 * (first + second) - 1, first * second - 1], dim=-1)
        value_BP, slope_BP = self.potential(symmetric)
        scale_BP = self.energy_scale * self.mass**2 * first * second
        return apart_BPD, square_BP, scale_BP * value_BP, scale_BP * slope_BP


class PairPotential(nn.Module):
    """A perceptron of three numbers, with its derivative along the first carried through the layers.

    So the force costs no backward pass, and training one alone. There is no last bias: a constant energy
    moves nothing.
    """

    def __init__(self, width: int, layers: int):
        super().__init__()
        widths = [3, *[width] * layers]
        self.hidden = nn.ModuleList(
            nn.Linear(num_in, num_out) for num_in, num_out in itertools.pairwise(widths)
        )
        self.out = nn.Linear(width, 1, bias=False)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Value and derivative, (B, P) each, of inputs (B, P, 3)."""
        value, slope = inputs, inputs.new_tensor([1.0, 0.0, 0.0])
        for layer in self.hidden:
            value = torch.tanh(layer(value))
            slope = (1 - value * value) * nn.functional.linear(slope, layer.weight)  # type: ignore[arg-type]
        return self.out(value)[..., 0], self.out(slope)[..., 0]
