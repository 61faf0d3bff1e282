"""Metrics of predictions: of each trajectory, frame and field, and their summaries over trajectories."""

from pipeline.evaluation.metrics.relative import (
    CLOSE_ERROR,
    METRICS,
    FieldNorm,
    below_floor,
    field_norms,
    relative_l2,
    summary,
    vrmse,
)

__all__ = [
    "CLOSE_ERROR",
    "METRICS",
    "FieldNorm",
    "below_floor",
    "field_norms",
    "relative_l2",
    "summary",
    "vrmse",
]
