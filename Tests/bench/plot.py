"""CPU per message and memory against the number of connected nodes, as a picture."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: E402

# Told apart by people who see few colours, and by marks.
LINES = {"to_all.cpu_us": ("to all nodes", "#0072b2", "o"), "to_100.cpu_us": ("to 100 of them", "#d55e00", "s")}
MEMORY = {"kb_per_connection": ("all processes of the hub", "#0072b2", "o"), "wsserve_kb_per_connection": ("hub-wsserve alone", "#d55e00", "s")}


def points(document, key):
    """Nodes, and median with the distances to the smallest and largest value."""
    found = []
    for name, entry in document["rows"].items():
        figure = entry["figures"].get(key)
        if entry["group"] == "scale" and figure:
            found.append((entry["figures"]["nodes"]["median"], figure))
    found.sort(key=lambda pair: pair[0])
    return ([nodes for nodes, _ in found], [figure["median"] for _, figure in found],
            [[figure["median"] - figure["min"] for _, figure in found], [figure["max"] - figure["median"] for _, figure in found]])


def panel(axes, document, series, title, unit):
    ticks, highest = set(), 0
    for key, (label, colour, mark) in series.items():
        nodes, values, spread = points(document, key)
        if nodes:
            axes.errorbar(nodes, values, yerr=spread, label=label, color=colour, marker=mark, capsize=4, linewidth=1.8)
            ticks |= set(nodes)
            highest = max(highest, max(value + more for value, more in zip(values, spread[1])))
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("connected nodes")
    axes.set_ylabel(unit)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.1 * highest or 1)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if ticks:
        axes.legend(frameon=False, loc="lower left")
    else:
        axes.text(0.5, 0.5, "no rows of group 'scale'", transform=axes.transAxes, ha="center")


def draw(document, path):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    panel(left, document, LINES, "CPU per acknowledged message of 1 KB, all processes", "µs")
    panel(right, document, MEMORY, "Resident memory per connection", "KB")
    runs = max((len(entry["runs"]) for entry in document["rows"].values()), default=0)
    figure.supxlabel(
        f"hub {document['version']}, {document['cores']} cores, Linux {document['kernel']}; median of {runs} run{'' if runs == 1 else 's'}, bars: smallest and largest",
        fontsize=8, color="#555555")
    figure.savefig(path, dpi=130, format="png")
    pyplot.close(figure)
