"""Forces on the bodies of several ranks, with one slab of bodies on each rank.

Up to `FEW_BODIES` bodies are gathered once for each frame, and every rank advances all bodies. More bodies
are gathered before each evaluation of forces, and each rank computes the forces on its own bodies. With at
least `RING_BODIES` bodies on each rank, blocks of bodies travel in a ring of ranks during the computation.
Each block travels half of the ring, and each pair of blocks is computed once. The forces on a travelling
block are then returned to the owner of the block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from solvers.nbody.batched import FIRST_STEP
from solvers.nbody.diagnostics import pair_sums, shortest_time
from solvers.nbody.gravity import FEW_BODIES, forces_between, tiled_pair_forces
from solvers.nbody.integrators import make_composition, make_hermite
from solvers.nbody.outcome import COMPLETED
from solvers.numerics.grid import slab

#: The smallest number of bodies on each rank for which a ring is faster than a gather of all bodies.
RING_BODIES = 128


class SharedBodies:
    """The bodies of one trajectory, in slabs on the ranks of a communicator.

    Args:
        communicator: the ranks.
        num_bodies: the number of bodies on all ranks.

    Attributes:
        block: the slice of the bodies of this rank.
        is_replicated: whether every rank advances all bodies.
        uses_ring: whether blocks of bodies travel in a ring of ranks.

    Raises:
        UserError: there are more ranks than bodies.
    """

    def __init__(self, communicator: MPI.Intracomm, num_bodies: int):
        size = communicator.size
        if size > num_bodies:
            raise UserError(
                f"{size} ranks cannot share {num_bodies} bodies. Each rank needs at least one body. Type "
                f"group_size={num_bodies} or less, or choose a system of more bodies"
            )
        self.communicator = communicator
        self._slabs = [slab(num_bodies, size, rank) for rank in range(size)]
        self._counts = [rank_slab.stop - rank_slab.start for rank_slab in self._slabs]
        self.block = self._slabs[communicator.rank]
        self._hermite = make_hermite(self.pair_forces, self.minimum)
        self._compose = make_composition(self.pair_forces)
        self.is_replicated = num_bodies <= FEW_BODIES or size == 1
        self.uses_ring = num_bodies >= RING_BODIES * size

    @property
    def description(self) -> str:
        """The distribution of the work among the ranks, in words."""
        if self.is_replicated:
            return "all bodies on each rank"
        return "in a ring" if self.uses_ring else "gathered"

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows (k, n) of all bodies, gathered from the rows (k, local) of each rank."""
        if self.communicator.size == 1:
            return rows
        num_rows = len(rows)
        receive_buffer = np.empty(num_rows * sum(self._counts))
        self.communicator.Allgatherv(
            np.ascontiguousarray(rows), [receive_buffer, [num_rows * count for count in self._counts]]
        )
        split_points = num_rows * np.cumsum(self._counts)[:-1]
        return np.hstack(
            [rank_rows.reshape(num_rows, -1) for rank_rows in np.split(receive_buffer, split_points)]
        )

    def minimum(self, value: float) -> float:
        """Return the minimum of a value over all ranks."""
        return float(self.communicator.allreduce(value, MPI.MIN))

    def advance(  # noqa: PLR0917 - the arguments of `batched.advance_bodies`
        self,
        bodies: np.ndarray,
        g: np.ndarray,
        softening_squared: float,
        lengths: np.ndarray,
        accuracy: float,
        num_steps: int,
        duration: float,
        close_squared: float,
    ) -> tuple[int, int, float]:
        """Advance this rank's bodies with messages between the ranks, see `batched.advance_bodies`."""
        if lengths.size:
            self._compose(bodies, g, softening_squared, lengths, num_steps, duration)
            return COMPLETED, num_steps, np.inf
        all_bodies = self.gather(bodies)
        shortest_local_time = shortest_time(
            all_bodies, g, softening_squared, self.communicator.rank, self.communicator.size
        )
        step = FIRST_STEP * math.sqrt(accuracy) * self.minimum(shortest_local_time)
        return self._hermite(bodies, g, softening_squared, step, accuracy, duration, num_steps, close_squared)

    def pair_sums(
        self, all_bodies: np.ndarray, mass: np.ndarray, g: np.ndarray, softening_squared: float
    ) -> tuple[float, float]:
        """Return the potential energy (J) and the smallest squared separation (m^2) of all pairs."""
        potential, least_separation_squared = pair_sums(
            all_bodies, mass, g, softening_squared, self.communicator.rank, self.communicator.size
        )
        return float(self.communicator.allreduce(potential)), self.minimum(least_separation_squared)

    def pair_forces(
        self, bodies: np.ndarray, g: np.ndarray, softening_squared: float, force: np.ndarray
    ) -> float:
        """Fill `force` with the forces of all bodies on this rank's bodies, see `gravity`.

        Args:
            bodies: the bodies of this rank, (6, local) or (9, local); rows 6 to 8 are ignored.
            g: G m (m^3/s^2) of all bodies, (n,).
            softening_squared: the squared softening length, m^2.
            force: the output array for the forces on this rank's bodies, (3, local) or (6, local).

        Returns:
            The smallest q of this rank's bodies if jerks are computed, else infinity.
        """
        bodies = bodies[:6]
        if self.uses_ring:
            return self._ring_forces(bodies, g, softening_squared, force)
        force[:] = 0.0
        all_bodies = self.gather(bodies)
        return forces_between(  # type: ignore[no-any-return]
            bodies, g[self.block], softening_squared, force, all_bodies, g, np.zeros((len(force), g.size))
        )

    def _ring_forces(
        self, bodies: np.ndarray, g: np.ndarray, softening_squared: float, force: np.ndarray
    ) -> float:
        rank, size = self.communicator.rank, self.communicator.size
        own_g = g[self.block]
        returning_forces = [np.empty((len(force), self._counts[rank])) for _ in range(size // 2)]
        receive_requests = [
            self.communicator.Irecv(block_force, (rank + shift) % size, tag=shift)
            for shift, block_force in enumerate(returning_forces, start=1)
        ]
        send_requests, sent_forces = [], []
        travelling_blocks = self._travelling_blocks(bodies)
        next(travelling_blocks)
        least_q: float = tiled_pair_forces(bodies, own_g, softening_squared, force)
        for shift, block in enumerate(travelling_blocks, start=1):
            owner = (rank - shift) % size
            block_force = np.zeros((len(force), self._counts[owner]))
            block_least_q = self._block_forces(
                bodies, own_g, softening_squared, force, block, g[self._slabs[owner]], block_force, owner
            )
            least_q = min(least_q, block_least_q)
            send_requests.append(self.communicator.Isend(block_force, owner, tag=shift))
            sent_forces.append(block_force)
        MPI.Request.Waitall(receive_requests + send_requests)
        for block_force in returning_forces:
            force += block_force
        return least_q

    def _travelling_blocks(self, bodies: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the bodies of this rank, then the bodies of the previous ranks in half of the ring.

        During the computation of the caller, each block is sent to the next rank.
        """
        rank, size = self.communicator.rank, self.communicator.size
        block = np.ascontiguousarray(bodies)
        for shift in range(1, size // 2 + 1):
            next_block = np.empty((len(bodies), self._counts[(rank - shift) % size]))
            requests = [
                self.communicator.Isend(block, (rank + 1) % size, tag=0),
                self.communicator.Irecv(next_block, (rank - 1) % size, tag=0),
            ]
            yield block
            MPI.Request.Waitall(requests)
            block = next_block
        yield block

    def _block_forces(  # noqa: PLR0917 - the arguments of `gravity.forces_between`
        self,
        bodies: np.ndarray,
        g: np.ndarray,
        softening_squared: float,
        force: np.ndarray,
        block: np.ndarray,
        block_g: np.ndarray,
        block_force: np.ndarray,
        owner: int,
    ) -> float:
        """Add the forces between this rank's bodies and a travelling block; return the smallest q.

        In a ring of even size, two ranks on opposite sides receive the block of each other. Each of the two
        ranks then computes the forces for one half of the bodies of the lower rank.
        """
        rank, size = self.communicator.rank, self.communicator.size
        if (rank - owner) % size * 2 != size:
            return forces_between(  # type: ignore[no-any-return]
                bodies, g, softening_squared, force, block, block_g, block_force
            )
        if rank < owner:
            half_slice = slice(0, g.size // 2)
            half_force = np.zeros((len(force), g[half_slice].size))
            half_block = bodies[:, half_slice].copy()
            least_q: float = forces_between(
                half_block, g[half_slice], softening_squared, half_force, block, block_g, block_force
            )
            force[:, half_slice] += half_force
        else:
            half_slice = slice(block_g.size // 2, None)
            half_force = np.zeros((len(force), block_g[half_slice].size))
            half_block = block[:, half_slice].copy()
            least_q = forces_between(
                bodies, g, softening_squared, force, half_block, block_g[half_slice], half_force
            )
            block_force[:, half_slice] += half_force
        return least_q
