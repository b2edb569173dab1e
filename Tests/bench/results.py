"""What a row is, and what several runs of it add up to: median, smallest and largest value of each figure, and the verdict on its goal."""

from dataclasses import dataclass, field
from statistics import median
from typing import Callable

SCHEMA = 1


@dataclass(frozen=True)
class Figure:
    """A figure that the table shows."""

    key: str
    label: str
    unit: str


@dataclass(frozen=True)
class Goal:
    """What the hub should reach (`<=` or `>=`), and what KubeEdge's CloudHub was measured at; both are the design's figures."""

    relation: str
    hub: float
    cloudhub: float | None

    def verdict(self, value):
        return "meets" if (value <= self.hub if self.relation == "<=" else value >= self.hub) else "misses"


@dataclass(frozen=True)
class Row:
    """One thing to measure. `measure` gets a `Run` and returns numbers by name; they may be nested."""

    name: str
    description: str
    measure: Callable
    shown: list
    goals: dict = field(default_factory=dict)
    # About how long one run takes, quick and whole.
    seconds: tuple = (10, 20)
    group: str = "figures"


def flat(values, prefix=""):
    """Numbers by name; nested names are joined by dots. Texts and lists are left out."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[prefix + name] = value
    return found


def rounded(value):
    """Four significant digits; whole numbers stay whole."""
    return value if isinstance(value, int) or value == 0 else float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def summarise(row, runs):
    """All figures of a row. A run that lacks one does not count for it."""
    flattened = [flat(run) for run in runs]
    names = dict.fromkeys(name for values in flattened for name in values)
    units = {figure.key: figure.unit for figure in row.shown}
    figures = {}
    for name in names:
        values = [values[name] for values in flattened if name in values]
        figure = {"median": rounded(median(values)), "min": rounded(min(values)), "max": rounded(max(values)),
                  "values": [rounded(value) for value in values]}
        if name in units:
            figure["unit"] = units[name]
        if goal := row.goals.get(name):
            figure |= {"goal": goal.hub, "relation": goal.relation, "cloudhub": goal.cloudhub, "verdict": goal.verdict(median(values))}
        figures[name] = figure
    return figures


def result(row, runs, failure=None):
    """The entry of a row in the JSON file."""
    entry = {"group": row.group, "description": row.description, "figures": summarise(row, runs), "runs": runs}
    skipped = {name: reason for run in runs for name, reason in run.get("skipped", {}).items()}
    if skipped:
        entry["skipped"] = skipped
    if failure:
        entry["failed"] = failure
    return entry
