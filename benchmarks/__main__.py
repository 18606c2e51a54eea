"""`make bench`: every benchmark, as a table of ratios."""

import os
import platform

from benchmarks import sources


def main() -> None:
    """Print the machine and the table; figures are medians, the two sides measured in turns."""
    print(f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}\n")
    print("| ours / peer | ours | peer | ratio |\n|---|---:|---:|---:|")
    for ratio in sources.ratios():
        print(ratio)


if __name__ == "__main__":
    main()
