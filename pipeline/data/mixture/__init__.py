"""Several data sets of one system as the data of one training: the sources of a mixture."""

from pipeline.data.mixture.aligned import AlignedSource
from pipeline.data.mixture.measured import is_measured
from pipeline.data.mixture.mixture import Mixture, mixture_of

__all__ = ["AlignedSource", "Mixture", "is_measured", "mixture_of"]
