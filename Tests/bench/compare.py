"""New figures beside those of an older file."""

from results import SCHEMA
from table import number


def readable(document):
    """The rows of a file that this program can compare with; raises ValueError otherwise."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or not isinstance(document.get("rows"), dict):
        raise ValueError(f"not figures of bin/bench with schema {SCHEMA}")
    return document["rows"]


def compare(old, new):
    """Ratios new/old by row and figure. `differs`: the medians lie further apart than both spreads together."""
    found = {}
    for name, entry in new["rows"].items():
        before = readable(old).get(name, {}).get("figures", {})
        for key, figure in entry["figures"].items():
            if key not in before:
                continue
            earlier = before[key]
            spread = (figure["max"] - figure["min"]) + (earlier["max"] - earlier["min"])
            found.setdefault(name, {})[key] = {
                "old": earlier["median"], "new": figure["median"],
                "ratio": round(figure["median"] / earlier["median"], 3) if earlier["median"] else None,
                "differs": abs(figure["median"] - earlier["median"]) > spread,
            }
    return found


def lines(rows, comparison):
    """The figures that the table shows, with a star where they differ."""
    yield "new/old (* differs by more than the spread of both)"
    for row in rows:
        for figure in row.shown:
            if found := comparison.get(row.name, {}).get(figure.key):
                ratio = "-" if found["ratio"] is None else f"{found['ratio']:.2f}"
                yield f"{'*' if found['differs'] else ' '} {row.name:16} {figure.label.strip():34} {number(found['old']):>12} → {number(found['new']):>12} {figure.unit:5} {ratio:>7}"
