"""The imports of the server that forks stages. MPI starts in each forked process alone."""

import importlib

import mpi4py

mpi4py.rc.initialize = False
mpi4py.rc.finalize = False

for name in (
    "matplotlib.figure",
    "mpi4py.MPI",
    "pytest",
    *(f"pipeline.{stage}" for stage in ("generate", "validate", "train", "evaluate", "chain")),
    "pipeline.data.card.card",
    "pipeline.evaluation.report.report",
    "pipeline.plots.curves",
    "pipeline.training.fit",
    "solvers.heat",
    "solvers.navier_stokes",
    "solvers.nbody",
    "surrogates.fno",
    "surrogates.unet",
    "surrogates.deeponet",
    "tests.faults.train_checkpoint_writer",
):
    importlib.import_module(name)

importlib.import_module("torch").set_num_threads(1)
