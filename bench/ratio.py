"""What a benchmark yields: a ratio, and the goal it is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """One line of `make bench`."""

    name: str
    value: float
    goal: float
    at_least: bool = False  # else the goal is a maximum
    detail: str = ""  # what was measured, for people

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def line(self) -> str:
        """`NAME RATIO GOAL`; `>=` and `<=` say which way the goal goes."""
        return f"{self.name} {self.value:.2f} {'>=' if self.at_least else '<='}{self.goal:g}"
