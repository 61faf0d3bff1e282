"""The missing and the wrong facts of a description, reported in one message."""

from __future__ import annotations

from pipeline.data import units
from simsurrogate.errors import UserError


class Mistakes:
    """Facts that are missing, and facts that are wrong; all are reported together."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.wrong: list[str] = []

    def unit(self, key: str, described: str | None, found: str | None) -> str:
        """Return the unit of a key, from the description or the files."""
        unit = described or found
        if unit is None:
            self.missing.append(f"{key}: UNIT   # 1 for no unit")
            return "1"
        if not units.is_known(unit):
            origin = "the description" if described else "the files"
            self.wrong.append(
                f"{key}={unit!r} in {origin} is no unit that pint knows. Units such as m/s, K, kg/m^3 and 1 "
                f"are allowed. Correct {key} in the description"
            )
        return unit

    def raise_any(self, layout: str, description_key: str) -> None:
        """Raise one `UserError` with all mistakes, if there are any."""
        lines = list(dict.fromkeys(self.wrong))
        if self.missing:
            text = "\n".join(f"  {line}" for line in dict.fromkeys(self.missing))
            lines.append(
                f"{layout} does not say all that a data set needs. Missing in the description:\n{text}\n"
                f"Add these keys to a YAML file and type {description_key}"
            )
        if lines:
            raise UserError("\n".join(lines))
