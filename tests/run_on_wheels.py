"""Run the test suite against every supported faiss-cpu wheel, all with the one compiled module built once.

    python tests/run_on_wheels.py [--versions 1.14.2,1.15.1] [--folder .wheels] [-- pytest arguments]

Each version gets a virtual environment of its own, kept for the next run. The package itself is taken from
this checkout, where ``pip install -e .`` has left the module; it links to nothing of FAISS, so one build fits
all. The Python must be the one that the module was built for.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("1.14.2", "1.14.3", "1.15.0", "1.15.1")


def make_environment(folder: Path, version: str) -> Path:
    """Return the Python of an environment with this wheel, made if it is not there yet."""
    python = folder / version / "bin" / "python"
    done = folder / version / "complete"
    if not done.exists():
        venv.create(folder / version, with_pip=True, clear=True)
        packages = [f"faiss-cpu=={version}", "numpy", "pytest", "hypothesis"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python


def run_tests(python: Path, arguments: list[str]) -> bool:
    """Run pytest in the checkout and tell whether all tests passed."""
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main() -> int:
    """Run all versions, then name those that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", default=",".join(VERSIONS), help="comma-separated")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".wheels", help="where the environments are kept"
    )
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    if not list((ROOT / "drqfaiss").glob("_core*.so")):
        parser.error("drqfaiss/_core is not built: run pip install -e . first")
    failed = []
    for version in options.versions.split(","):
        print(f"faiss-cpu {version}", flush=True)
        if not run_tests(make_environment(options.folder, version), options.pytest):
            failed.append(version)
    print("failed: " + ", ".join(failed) if failed else "all versions passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
