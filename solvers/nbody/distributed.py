"""Forces on bodies that ranks share, a slab of them each.

A few bodies, up to `FEW`, are gathered once a frame, and every rank moves all of them. More are gathered
before every force, and each rank sums over all of them for its own. The blocks of many go round a ring while
the ranks compute; each block meets each other one once, half-way round the ring, and what a visiting block
feels is sent straight home.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from solvers.nbody.batched import FIRST
from solvers.nbody.diagnostics import pairs, shortest_time
from solvers.nbody.gravity import FEW, attract_each_other, attract_others
from solvers.nbody.integrators import compose_with, hermite_with
from solvers.nbody.outcome import ARRIVED
from solvers.numerics.grid import slab

#: From so many bodies a rank on, a ring is faster than gathering all bodies.
RING = 128


class SharedBodies:
    """The bodies of one trajectory, in slabs on the ranks of a communicator.

    Args:
        communicator: the ranks.
        num_bodies: of all ranks.

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
        self._hermite = hermite_with(self.attract, self.least)
        self._compose = compose_with(self.attract)
        self.moves_all = num_bodies <= FEW or size == 1
        self.uses_ring = num_bodies >= RING * size
        self.way = "each rank all" if self.moves_all else "in a ring" if self.uses_ring else "gathered"

    def gathered(self, rows: np.ndarray) -> np.ndarray:
        """The rows (k, n) of all bodies from those (k, local) of each rank's."""
        if self.communicator.size == 1:
            return rows
        num_rows = len(rows)
        received = np.empty(num_rows * sum(self._counts))
        self.communicator.Allgatherv(
            np.ascontiguousarray(rows), [received, [num_rows * count for count in self._counts]]
        )
        ends = num_rows * np.cumsum(self._counts)[:-1]
        return np.hstack([part.reshape(num_rows, -1) for part in np.split(received, ends)])

    def least(self, value: float) -> float:
        """The least of all ranks' values."""
        return float(self.communicator.allreduce(value, MPI.MIN))

    def move(  # noqa: PLR0917 - as `nbody_ensemble.move`
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
        """See `nbody_ensemble.move`: the same integrators, around the messages of the ranks."""
        if lengths.size:
            self._compose(bodies, g, softening2, lengths, num_steps, duration)
            return ARRIVED, num_steps, np.inf
        everything = self.gathered(bodies)
        shortest = shortest_time(everything, g, softening2, self.communicator.rank, self.communicator.size)
        step = FIRST * math.sqrt(accuracy) * self.least(shortest)
        return self._hermite(bodies, g, softening2, step, accuracy, duration, num_steps, close2)

    def pairs(
        self, everything: np.ndarray, mass: np.ndarray, g: np.ndarray, softening2: float
    ) -> tuple[float, float]:
        """See `nbody_observe.pairs`: those of all bodies, shared between the ranks."""
        potential, least2 = pairs(
            everything, mass, g, softening2, self.communicator.rank, self.communicator.size
        )
        return float(self.communicator.allreduce(potential)), self.least(least2)

    def attract(self, bodies: np.ndarray, g: np.ndarray, softening2: float, force: np.ndarray) -> float:
        """The force of all ranks' bodies on this rank's; see `nbody_gravity`.

        Args:
            bodies: this rank's, (6, local) or, the last three rows not read, (9, local).
            g: of all bodies, (n,).
            softening2: m^2.
            force: on this rank's bodies, (3 or 6, local), to be filled.

        Returns:
            The least q of this rank's bodies where rates are asked for, else infinity.
        """
        bodies = bodies[:6]
        if self.uses_ring:
            return self._attract_by_ring(bodies, g, softening2, force)
        force[:] = 0.0
        everything = self.gathered(bodies)
        return attract_others(  # type: ignore[no-any-return]
            bodies, g[self.block], softening2, force, everything, g, np.zeros((len(force), g.size))
        )

    def _attract_by_ring(
        self, bodies: np.ndarray, g: np.ndarray, softening2: float, force: np.ndarray
    ) -> float:
        rank, size = self.communicator.rank, self.communicator.size
        mine = g[self.block]
        home = [np.empty((len(force), self._counts[rank])) for _ in range(size // 2)]
        arriving = [
            self.communicator.Irecv(block, (rank + shift) % size, tag=shift)
            for shift, block in enumerate(home, start=1)
        ]
        leaving, kept = [], []
        visitors = self._visitors(bodies)
        next(visitors)
        least: float = attract_each_other(bodies, mine, softening2, force)
        for shift, visitor in enumerate(visitors, start=1):
            owner = (rank - shift) % size
            its_force = np.zeros((len(force), self._counts[owner]))
            met = self._meet(
                bodies, mine, softening2, force, visitor, g[self._slabs[owner]], its_force, owner
            )
            least = min(least, met)
            leaving.append(self.communicator.Isend(its_force, owner, tag=shift))
            kept.append(its_force)
        MPI.Request.Waitall(arriving + leaving)
        for block in home:
            force += block
        return least

    def _visitors(self, bodies: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the bodies of this rank, then of those before it up to half-way round, each on its way to
        the next rank while the caller works with it.
        """
        rank, size = self.communicator.rank, self.communicator.size
        visitor = np.ascontiguousarray(bodies)
        for shift in range(1, size // 2 + 1):
            following = np.empty((len(bodies), self._counts[(rank - shift) % size]))
            requests = [
                self.communicator.Isend(visitor, (rank + 1) % size, tag=0),
                self.communicator.Irecv(following, (rank - 1) % size, tag=0),
            ]
            yield visitor
            MPI.Request.Waitall(requests)
            visitor = following
        yield visitor

    def _meet(  # noqa: PLR0917 - as `nbody_gravity.attract_others`
        self,
        bodies: np.ndarray,
        g: np.ndarray,
        softening2: float,
        force: np.ndarray,
        others: np.ndarray,
        others_g: np.ndarray,
        others_force: np.ndarray,
        owner: int,
    ) -> float:
        """Adds the forces between this rank's block and a visiting one; the least q. Where both ranks meet
        each other's block, each takes a half of the block of the lower rank.
        """
        rank, size = self.communicator.rank, self.communicator.size
        if (rank - owner) % size * 2 != size:
            return attract_others(  # type: ignore[no-any-return]
                bodies, g, softening2, force, others, others_g, others_force
            )
        if rank < owner:
            part = slice(0, g.size // 2)
            own = np.zeros((len(force), g[part].size))
            half = bodies[:, part].copy()
            least: float = attract_others(half, g[part], softening2, own, others, others_g, others_force)
            force[:, part] += own
        else:
            part = slice(others_g.size // 2, None)
            theirs = np.zeros((len(force), others_g[part].size))
            half = others[:, part].copy()
            least = attract_others(bodies, g, softening2, force, half, others_g[part], theirs)
            others_force[:, part] += theirs
        return least
