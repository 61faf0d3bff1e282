"""The residuals of the flow's equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def flow_residuals(
    fields: Mapping[str, Any],
    derivative: Callable[..., Any],
    parameters: Mapping[str, Any],
    hyperviscosity_order: int,
    is_autonomous: bool,
) -> dict[str, Any]:
    """Return the residuals `divergence` and `curl` (1/s), `vorticity` (s^-2) and `tracer` (1/s).

    A ring of random waves is not a function of the fields. The result for this forcing, which is not
    autonomous, has no residual `vorticity`. `fields`, `derivative` and `parameters` are those of
    `Solver.residual`.
    """
    u, v, vorticity = fields["velocity_x"], fields["velocity_y"], fields["vorticity"]

    def laplacian(values: Any) -> Any:
        return derivative(derivative(values, "x"), "x") + derivative(derivative(values, "y"), "y")

    def material_derivative(values: Any) -> Any:
        return derivative(values, "t") + u * derivative(values, "x") + v * derivative(values, "y")

    residuals = {
        "divergence": derivative(u, "x") + derivative(v, "y"),
        "curl": vorticity - derivative(v, "x") + derivative(u, "y"),
    }
    if is_autonomous:
        residual = material_derivative(vorticity)
        if "viscosity" in parameters:
            residual = residual - parameters["viscosity"] * laplacian(vorticity)
        if "hyperviscosity" in parameters:
            iterated_laplacian = vorticity
            for _ in range(hyperviscosity_order):
                iterated_laplacian = -laplacian(iterated_laplacian)
            residual = residual + parameters["hyperviscosity"] * iterated_laplacian
        if "drag" in parameters:
            residual = residual + parameters["drag"] * vorticity
        if "forcing" in fields:
            residual = residual - fields["forcing"]
        residuals["vorticity"] = residual
    if "tracer" in fields:
        residual = material_derivative(fields["tracer"])
        if "tracer_diffusivity" in parameters:
            residual = residual - parameters["tracer_diffusivity"] * laplacian(fields["tracer"])
        residuals["tracer"] = residual
    return residuals
