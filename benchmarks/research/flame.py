"""A flame graph of what py-spy saw: wide is long, a function above the one that called it; folders have colours.

    py-spy record --rate 40 --format raw --output stacks.txt -- \\
        polyclinic generate --cohort cardio_oncology --patients 64 --seed 7 --workers 1 --out c
    python benchmarks/research/flame.py stacks.txt docs/experiments/profile.svg
"""

import argparse
import re
from html import escape
from pathlib import Path

WIDE, TALL = 1400, 16  # pixels of all, pixels a row
LEAST, DEEPEST = 0.005, 28  # share of all below which a function is left out; rows
HIDDEN = re.compile(
    r"<(list|dict|gen|set)(comp|expr)>|<frozen importlib|_call_impl|context_decorator|_handle_fromlist"
)
ROOT = "make (polyclinic/app/engines/generation.py"  # what is below it is alike in every run
COLOURS = {
    "polyclinic/modalities/imaging": "#e8a87c", "polyclinic/modalities/signals": "#9ecae1",
    "polyclinic/modalities/records": "#a1d99b", "polyclinic/modalities/omics": "#d4b9da",
    "polyclinic": "#fdd49e",
}  # fmt: skip
OTHER = "#dddddd"  # packages


class Call:
    """A function, how often it was seen, and whom it called."""

    def __init__(self) -> None:
        self.seen, self.called = 0, dict[str, Call]()


def read(path: Path) -> Call:
    """The calls below ROOT."""
    top = Call()
    for line in path.read_text().splitlines():
        stack, _, times = line.rpartition(" ")
        names = [re.sub(r":\d+\)$", ")", name) for name in stack.split(";")]
        begin = next((place for place, name in enumerate(names) if name.startswith(ROOT)), None)
        if begin is None:
            continue
        call = top
        call.seen += int(times)
        for name in names[begin:]:
            if not HIDDEN.search(name):
                call = call.called.setdefault(name, Call())
                call.seen += int(times)
    return top


def drawn(
    call: Call, left: float, depth: int, scale: float, boxes: list[tuple[float, int, float, str]]
) -> None:
    """Add the boxes of all that a function called: left, depth, width, name."""
    for name, own in sorted(call.called.items(), key=lambda one: -one[1].seen):
        wide = own.seen * scale
        if wide >= LEAST * WIDE and depth < DEEPEST:
            boxes.append((left, depth, wide, name))
            drawn(own, left, depth + 1, scale, boxes)
            left += wide


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stacks", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    top = read(asked.stacks)
    if not top.seen:
        parser.error(
            f"{asked.stacks}: expected stacks of `polyclinic generate`, found none with {ROOT.split()[0]}()"
        )
    boxes: list[tuple[float, int, float, str]] = []
    drawn(top, 0.0, 0, WIDE / top.seen, boxes)
    height = (max(depth for _, depth, _, _ in boxes) + 1) * TALL
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" style="background:white" '
        'font-family="sans-serif" font-size="10">'
    ]
    for left, depth, wide, name in boxes:
        colour = next((c for part, c in COLOURS.items() if f"({part}" in name), OTHER)
        y = height - (depth + 1) * TALL
        short = name.split(" (")[0][: int(wide / 5.5)]
        share, text = f"{escape(name)}: {100 * wide / WIDE:.1f} %", escape(short)
        lines.append(
            f'<g><title>{share}</title><rect x="{left:.1f}" y="{y}" width="{wide:.1f}" height="{TALL - 1}" '
            f'fill="{colour}"/><text x="{left + 2:.1f}" y="{y + 11}">{text}</text></g>'
        )
    asked.out.write_text("\n".join([*lines, "</svg>"]) + "\n")
    print(f"{len(boxes)} functions of {top.seen} samples in {asked.out}")


if __name__ == "__main__":
    main()
