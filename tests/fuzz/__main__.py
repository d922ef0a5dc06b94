"""Looks for inputs that break readers of files, the command, or searches.

usage: python -m tests.fuzz MINUTES
       python -m tests.fuzz TARGET SEED       one input again

Every input is made from a seed. Targets share the time. Exit status 1: there are findings.
"""

import sys

from tests.fuzz.run import TARGETS, again, look


def main(arguments: list[str]) -> int:
    if len(arguments) == 2:
        return again(arguments[0], int(arguments[1]))
    seconds = 60 * float(arguments[0]) / len(TARGETS)
    results = [look(name, seconds) for name in TARGETS]
    for result in results:
        print(result.line())
    findings = sum(len(result.findings) for result in results)
    print(f"{sum(result.executions for result in results)} inputs, {findings} findings")
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
