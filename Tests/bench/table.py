"""The figures as a table for people."""

COLUMNS = ("figure", "median", "min", "max", "goal", "CloudHub", "verdict")


def number(value):
    """With about four digits."""
    if value is None:
        return "-"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def lines_of(row, entry):
    """Cells of each figure of one row."""
    for figure in row.shown:
        if (found := entry["figures"].get(figure.key)) is None:
            continue
        label = f"{figure.label}, {figure.unit}" if figure.unit else figure.label
        goal = f"{'≤' if found['relation'] == '<=' else '≥'} {number(found['goal'])}" if "goal" in found else ""
        cloudhub = number(found["cloudhub"]) if "goal" in found else ""
        yield ("  " + label, number(found["median"]), number(found["min"]), number(found["max"]), goal, cloudhub, found.get("verdict", ""))


def table(rows, document):
    """Lines of the whole table."""
    blocks = [(row, document["rows"][row.name]) for row in rows if row.name in document["rows"]]
    cells = {row.name: list(lines_of(row, entry)) for row, entry in blocks}
    widths = [max(len(line[place]) for line in [COLUMNS, *(line for found in cells.values() for line in found)]) for place in range(len(COLUMNS))]

    def show(line):
        first, *others = line
        return "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))]).rstrip()

    yield show(COLUMNS)
    for row, entry in blocks:
        runs = len(entry["runs"])
        yield ""
        yield f"{row.name}: {row.description} ({runs} run{'' if runs == 1 else 's'})"
        yield from map(show, cells[row.name])
        for name, reason in entry.get("skipped", {}).items():
            yield f"  {name}: skipped, {reason}"
        if "failed" in entry:
            yield f"  failed: {entry['failed']}"
    busy = [run["machine"]["others_percent"] for entry in document["rows"].values() for run in entry["runs"] if "machine" in run]
    if busy:
        yield ""
        yield f"The machine's other processes took {min(busy):.0f} to {max(busy):.0f} % of its cores meanwhile." + (
            " That is too much for figures to rely on." if max(busy) > 10 else "")
