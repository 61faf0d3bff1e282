"""The stages from simulation to trained and evaluated surrogates, one module each."""

import sys

from pipeline.parallel.parent import end_with_mpirun
from simsurrogate.memory import explain_limited_address_space

# Imports take seconds, in which mpirun may die. During `python -m pipeline.STAGE`, argv starts with -m.
if sys.argv[:1] == ["-m"]:
    end_with_mpirun()
    explain_limited_address_space()
