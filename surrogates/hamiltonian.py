"""A learned Hamiltonian of particles, with a symplectic integrator.

Shape letters: B batch, N particles, D dimensions, P pairs, I inputs, C channels.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from surrogates.arguments import check_minimum
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Problem

#: The coefficients of PEFRL, the optimised position-extended Forest-Ruth-like scheme of fourth order.
_XI, _LAMBDA, _CHI = 0.1786178958448091, -0.2123418310626054, -0.06626458266981849
_DRIFTS = (_XI, _CHI, 1 - 2 * (_CHI + _XI), _CHI, _XI)
_KICKS = (0.5 - _LAMBDA, _LAMBDA, _LAMBDA, 0.5 - _LAMBDA)

#: The smallest distance of a pair, as a fraction of the typical distance of particles from the origin. It
#: replaces smaller distances.
_MIN_SEPARATION = 1e-6


class Hamiltonian(AutoregressiveSurrogate):
    """Particles that move by Hamilton's equations with a learned potential energy.

        H(q, p) = Σ_i |p_i|² / (2 m_i) + Σ_{i<j} φ(r_ij, m_i, m_j),    dq/dt = ∂H/∂p,  dp/dt = -∂H/∂q

    r_ij is the distance of two particles and p = m v. The masses m are inputs, so the kinetic energy is
    known. φ is a perceptron of ln r and the masses. H depends only on distances, so momentum and angular
    momentum are conserved to round-off for any weights. Between two frames the integrator takes `substeps`
    steps of the symplectic scheme of fourth order by Omelyan, Mryglod & Folk (2002), with four evaluations of
    the forces each. The scheme conserves a modified Hamiltonian near the learned Hamiltonian. The error of
    the energy therefore stays bounded in long rollouts if the steps resolve the closest encounters. Training
    uses frames and no time derivatives.

    The scalar parameters are not used: in compatible data they describe the initial state, not the law.

    Options:
        width: the width of the hidden layers of the perceptron.
        layers: the number of hidden layers.
        substeps: the steps of the integrator between two frames.

    Raises:
        UserError: the sites are not particles with positions, velocities and masses; the law depends on time
            itself; an option is below 1.

    Source: Greydanus, Dzamba & Yosinski 2019 (arXiv 1906.01563), with H learned from time derivatives;
    through an integrator: Chen, Zhang, Arjovsky & Bottou 2020 (arXiv 1909.13334). Scheme: PEFRL of Omelyan,
    Mryglod & Folk 2002 (arXiv cond-mat/0110585).
    """

    # The forces need the positions of all particles.
    weighted = False
    first_bodies: torch.Tensor
    second_bodies: torch.Tensor

    def __init__(self, problem: Problem, *, width: int, layers: int, substeps: int):
        super().__init__(problem)
        check_minimum(1, width=width, layers=layers, substeps=substeps)
        pairs = np.array(list(itertools.combinations(range(problem.spec.shape[0]), 2))).T
        self.register_buffer("first_bodies", torch.from_numpy(pairs[0].copy()), persistent=False)
        self.register_buffer("second_bodies", torch.from_numpy(pairs[1].copy()), persistent=False)
        self.dimension = len(problem.spec.channels) // 2
        self.step_length = problem.time_step / substeps
        self.substeps = substeps
        typical_state = np.hypot(problem.statistics.mean, problem.statistics.std)
        self.length_scale = float(np.linalg.norm(typical_state[: self.dimension])) or 1.0
        speed = float(np.linalg.norm(typical_state[self.dimension :])) or 1.0
        self.mass_scale = problem.statistics.coefficient_mean[0] or 1.0
        self.energy_scale = speed**2 / self.mass_scale
        self.potential = PairPotential(width, layers)

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why the problem has no such Hamiltonian, or None, see `Surrogate`."""
        spec = problem.spec
        if not spec.has_particles or spec.shape[0] < 2:
            return "it needs two particles or more"
        fields = [(field.name, field.tensor_order) for field in (*spec.fields, *spec.coefficient_fields)]
        if len(spec.fields) != 2 or fields != [("position", 1), ("velocity", 1), ("mass", 0)]:
            actual_names = ", ".join((*spec.channels, *spec.coefficient_channels))
            return (
                "it needs vectors of position and velocity, and masses (fields position, velocity, mass), "
                f"not {actual_names}"
            )
        if not spec.autonomous:
            return "its law depends on time itself, so no energy is conserved"
        return None

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return the normalised change over one time step, (B, N, C)."""
        num_channels = len(self.problem.spec.channels)
        state_BNC = inputs_BXI[..., :num_channels]
        normalisation = self.inputs
        physical_BNC = state_BNC * normalisation.state_std + normalisation.state_mean
        normal_mass_BN1 = inputs_BXI[..., num_channels:]
        mass_BN = (normal_mass_BN1 * normalisation.coefficient_std + normalisation.coefficient_mean)[..., 0]
        start_x_BND, start_v_BND = physical_BNC[..., : self.dimension], physical_BNC[..., self.dimension :]
        x_BND, v_BND = self._integrate(start_x_BND, start_v_BND, mass_BN)
        change_BNC = torch.cat([x_BND - start_x_BND, v_BND - start_v_BND], dim=-1)
        return change_BNC / (normalisation.state_std * self.delta_scale)

    def energy(self, state: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
        """Return H (J) of states (B, C, N) with masses (B, N) in kg, (B,).

        H is determined up to a constant for each set of masses.
        """
        x_BND, v_BND = state.movedim(1, -1).tensor_split(2, dim=-1)
        _, _, potential_BP, _ = self._pairs(x_BND, mass)
        kinetic_BN = 0.5 * mass * v_BND.square().sum(-1)
        return kinetic_BN.sum(-1) + potential_BP.sum(-1)

    def _integrate(
        self, x_BND: torch.Tensor, v_BND: torch.Tensor, mass_BN: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions and velocities after one time step of the data."""
        h = self.step_length
        for _ in range(self.substeps):
            for drift, kick in zip(_DRIFTS, _KICKS, strict=False):
                x_BND = x_BND + drift * h * v_BND
                v_BND = v_BND + kick * h * self._acceleration(x_BND, mass_BN)
            x_BND = x_BND + _DRIFTS[-1] * h * v_BND
        return x_BND, v_BND

    def _acceleration(self, x_BND: torch.Tensor, mass_BN: torch.Tensor) -> torch.Tensor:
        """Return -∂H/∂q over the masses, (B, N, D); the two forces of a pair are opposite."""
        displacement_BPD, square_BP, _, derivative_BP = self._pairs(x_BND, mass_BN)
        pair_force_BPD = (derivative_BP / square_BP)[..., None] * displacement_BPD
        force_BND = torch.zeros_like(x_BND).index_add(1, self.first_bodies, pair_force_BPD)
        return force_BND.index_add(1, self.second_bodies, -pair_force_BPD) / mass_BN[..., None]

    def _pairs(
        self, x_BND: torch.Tensor, mass_BN: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return x_j - x_i of each pair, (B, P, D), and r², φ and ∂φ/∂(ln r), each (B, P)."""
        second_x, first_x = (
            x_BND.index_select(1, self.second_bodies),
            x_BND.index_select(1, self.first_bodies),
        )
        displacement_BPD = second_x - first_x
        min_square = (_MIN_SEPARATION * self.length_scale) ** 2
        square_BP = displacement_BPD.square().sum(-1).clamp_min(min_square)
        first_mass = mass_BN.index_select(1, self.first_bodies) / self.mass_scale
        second_mass = mass_BN.index_select(1, self.second_bodies) / self.mass_scale
        log_distance = 0.5 * torch.log(square_BP / self.length_scale**2)
        mean_mass, mass_product = 0.5 * (first_mass + second_mass), first_mass * second_mass
        inputs = torch.stack([log_distance, mean_mass - 1, mass_product - 1], dim=-1)
        value_BP, derivative_BP = self.potential(inputs)
        scale_BP = self.energy_scale * self.mass_scale**2 * first_mass * second_mass
        return displacement_BPD, square_BP, scale_BP * value_BP, scale_BP * derivative_BP


class PairPotential(nn.Module):
    """A perceptron of three inputs, with its derivative with respect to the first input.

    The derivative is carried through the layers next to the value. A force then costs no backward pass, and
    training costs one backward pass. The last layer has no bias, because a constant energy has no effect on
    the motion.
    """

    def __init__(self, width: int, layers: int):
        super().__init__()
        widths = itertools.chain([3], itertools.repeat(width, layers))
        self.hidden = nn.ModuleList(
            nn.Linear(num_in, num_out) for num_in, num_out in itertools.pairwise(widths)
        )
        self.out = nn.Linear(width, 1, bias=False)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return value and derivative, (B, P) each, of inputs (B, P, 3)."""
        value, derivative = inputs, inputs.new_tensor([1.0, 0.0, 0.0])
        for layer in self.hidden:
            value = torch.tanh(layer(value))
            derivative = (1 - value * value) * nn.functional.linear(derivative, layer.weight)  # type: ignore[arg-type]
        return self.out(value)[..., 0], self.out(derivative)[..., 0]
