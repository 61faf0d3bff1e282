"""Forces on bodies that several ranks share, one slab of the bodies on each rank.

Up to `FEW` bodies are gathered once a frame, and every rank advances all of them. More bodies are gathered
before every force, and each rank computes the forces on its own bodies. With at least `RING` bodies a rank,
blocks of bodies travel round a ring while the ranks compute: each pair of blocks is computed once, half-way
round the ring, and the forces on a travelling block are returned to its owner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from solvers.nbody.batched import FIRST
from solvers.nbody.diagnostics import pair_sums, shortest_time
from solvers.nbody.gravity import FEW, forces_between, tiled_pair_forces
from solvers.nbody.integrators import make_composition, make_hermite
from solvers.nbody.outcome import COMPLETED
from solvers.numerics.grid import slab

#: With at least this number of bodies a rank, a ring is faster than gathering all bodies.
RING = 128


class SharedBodies:
    """The bodies of one trajectory, in slabs on the ranks of a communicator.

    Args:
        communicator: the ranks.
        num_bodies: the number of bodies on all ranks.

    Attributes:
        block: the bodies of this rank.
        is_replicated: every rank advances all bodies.
        uses_ring: blocks of bodies travel round a ring.

    Raises:
        UserError: there are more ranks than bodies.
    """

    def __init__(self, communicator: MPI.Intracomm, num_bodies: int):
        size = communicator.size
        if size > num_bodies:
            raise UserError(
                f"{size} ranks cannot share {num_bodies} bodies: a rank needs at least one; use 1 to "
                f"{num_bodies} ranks a group, or more bodies"
            )
        self.communicator = communicator
        self._slabs = [slab(num_bodies, size, rank) for rank in range(size)]
        self._counts = [part.stop - part.start for part in self._slabs]
        self.block = self._slabs[communicator.rank]
        self._hermite = make_hermite(self.pair_forces, self.minimum)
        self._compose = make_composition(self.pair_forces)
        self.is_replicated = num_bodies <= FEW or size == 1
        self.uses_ring = num_bodies >= RING * size

    @property
    def description(self) -> str:
        """How the ranks share the work, in words."""
        if self.is_replicated:
            return "all bodies on each rank"
        return "in a ring" if self.uses_ring else "gathered"

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows (k, n) of all bodies from the rows (k, local) of each rank."""
        if self.communicator.size == 1:
            return rows
        num_rows = len(rows)
        received = np.empty(num_rows * sum(self._counts))
        self.communicator.Allgatherv(
            np.ascontiguousarray(rows), [received, [num_rows * count for count in self._counts]]
        )
        ends = num_rows * np.cumsum(self._counts)[:-1]
        return np.hstack([part.reshape(num_rows, -1) for part in np.split(received, ends)])

    def minimum(self, value: float) -> float:
        """Return the smallest value of all ranks."""
        return float(self.communicator.allreduce(value, MPI.MIN))

    def advance(  # noqa: PLR0917 - the arguments of `batched.advance_bodies`
        self,
        bodies: np.ndarray,
        g: np.ndarray,
        softening2: float,
        lengths: np.ndarray,
        accuracy: float,
        num_steps: int,
        duration: float,
        close2: float,
    ) -> tuple[int, int, float]:
        """Advance this rank's bodies as `batched.advance_bodies` does, with messages between the ranks."""
        if lengths.size:
            self._compose(bodies, g, softening2, lengths, num_steps, duration)
            return COMPLETED, num_steps, np.inf
        all_bodies = self.gather(bodies)
        shortest = shortest_time(all_bodies, g, softening2, self.communicator.rank, self.communicator.size)
        step = FIRST * math.sqrt(accuracy) * self.minimum(shortest)
        return self._hermite(bodies, g, softening2, step, accuracy, duration, num_steps, close2)

    def pair_sums(
        self, all_bodies: np.ndarray, mass: np.ndarray, g: np.ndarray, softening2: float
    ) -> tuple[float, float]:
        """Return potential energy (J) and least squared separation (m^2) of all pairs."""
        potential, least2 = pair_sums(
            all_bodies, mass, g, softening2, self.communicator.rank, self.communicator.size
        )
        return float(self.communicator.allreduce(potential)), self.minimum(least2)

    def pair_forces(self, bodies: np.ndarray, g: np.ndarray, softening2: float, force: np.ndarray) -> float:
        """Fill `force` with the forces of the bodies of all ranks on this rank's bodies, see `gravity`.

        Args:
            bodies: the bodies of this rank, (6, local) or (9, local); the last three of nine rows are not
                read.
            g: (n,), of all bodies.
            softening2: m^2.
            force: on the bodies of this rank, (3, local) or (6, local).

        Returns:
            The least q of this rank's bodies where jerks are computed, else infinity.
        """
        bodies = bodies[:6]
        if self.uses_ring:
            return self._ring_forces(bodies, g, softening2, force)
        force[:] = 0.0
        all_bodies = self.gather(bodies)
        return forces_between(  # type: ignore[no-any-return]
            bodies, g[self.block], softening2, force, all_bodies, g, np.zeros((len(force), g.size))
        )

    def _ring_forces(self, bodies: np.ndarray, g: np.ndarray, softening2: float, force: np.ndarray) -> float:
        rank, size = self.communicator.rank, self.communicator.size
        own_g = g[self.block]
        returning_forces = [np.empty((len(force), self._counts[rank])) for _ in range(size // 2)]
        receives = [
            self.communicator.Irecv(block_force, (rank + shift) % size, tag=shift)
            for shift, block_force in enumerate(returning_forces, start=1)
        ]
        sends, sent_forces = [], []
        travelling_blocks = self._travelling_blocks(bodies)
        next(travelling_blocks)
        least: float = tiled_pair_forces(bodies, own_g, softening2, force)
        for shift, block in enumerate(travelling_blocks, start=1):
            owner = (rank - shift) % size
            block_force = np.zeros((len(force), self._counts[owner]))
            block_least = self._block_forces(
                bodies, own_g, softening2, force, block, g[self._slabs[owner]], block_force, owner
            )
            least = min(least, block_least)
            sends.append(self.communicator.Isend(block_force, owner, tag=shift))
            sent_forces.append(block_force)
        MPI.Request.Waitall(receives + sends)
        for block_force in returning_forces:
            force += block_force
        return least

    def _travelling_blocks(self, bodies: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the bodies of this rank, then the bodies of the previous ranks up to half-way round the ring.

        Each block is sent on to the next rank while the caller computes with it.
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
        softening2: float,
        force: np.ndarray,
        block: np.ndarray,
        block_g: np.ndarray,
        block_force: np.ndarray,
        owner: int,
    ) -> float:
        """Add the forces between this rank's bodies and a travelling block; return the least q.

        On opposite sides of a ring of even size, both ranks receive each other's block. Each of the two ranks
        then computes the forces of one half of the lower rank's bodies.
        """
        rank, size = self.communicator.rank, self.communicator.size
        if (rank - owner) % size * 2 != size:
            return forces_between(  # type: ignore[no-any-return]
                bodies, g, softening2, force, block, block_g, block_force
            )
        if rank < owner:
            part = slice(0, g.size // 2)
            half_force = np.zeros((len(force), g[part].size))
            half = bodies[:, part].copy()
            least: float = forces_between(half, g[part], softening2, half_force, block, block_g, block_force)
            force[:, part] += half_force
        else:
            part = slice(block_g.size // 2, None)
            half_force = np.zeros((len(force), block_g[part].size))
            half = block[:, part].copy()
            least = forces_between(bodies, g, softening2, force, half, block_g[part], half_force)
            block_force[:, part] += half_force
        return least
