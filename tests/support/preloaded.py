"""The imports and caches of the server that forks stages and ranks. MPI starts in each forked process."""

import importlib
import io
import signal

import mpi4py

mpi4py.rc.initialize = False
mpi4py.rc.finalize = False

MODULES = (
    "h5py._hl.dims",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "mpi4py.MPI",
    "multiprocessing.synchronize",
    "pytest",
    *(f"pipeline.{stage}" for stage in ("generate", "validate", "train", "evaluate", "chain")),
    "pipeline.jobs.probe_step",
    "pipeline.jobs.step",
    "pipeline.probe",
    "pipeline.data.card.card",
    "pipeline.evaluation.report.report",
    "pipeline.plots.curves",
    "pipeline.training.device.malloc",
    "pipeline.training.fit",
    "pipeline.training.models",
    "solvers.heat",
    "solvers.navier_stokes",
    "solvers.nbody",
    "surrogates.fno",
    "surrogates.unet",
    "surrogates.deeponet",
    "tests.faults.train_checkpoint_writer",
    "torch._dynamo",  # for DistributedDataParallel
)


def prepare() -> None:
    """Import all modules, and fill the caches that each process would fill: Hydra, numba, sources."""
    for name in MODULES:
        importlib.import_module(name)
    import hydra
    import numba.core.registry
    import torch
    from matplotlib.figure import Figure

    from simsurrogate.sources import source_hash
    from solvers.contract import solver_class, solver_names
    from surrogates.contract import surrogate_class, surrogate_names

    torch.set_num_threads(1)
    with hydra.initialize_config_module("configs", version_base="1.3"):
        hydra.compose("config")
    Figure().savefig(io.BytesIO())
    numba.core.registry.cpu_target.typing_context.refresh()
    numba.core.registry.cpu_target.target_context.refresh()
    for cls in (*map(solver_class, solver_names()), *map(surrogate_class, surrogate_names())):
        source_hash(cls)


# A forked process decides on SIGUSR1 after it has started.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
prepare()
