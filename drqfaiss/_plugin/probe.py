"""Try an unknown FAISS in a child process: a crash there is a verdict, not the end of the caller.

``python -m drqfaiss._plugin.probe`` is that child. The verdict is kept in the user's cache folder, for
this build of FAISS and this build of drqfaiss.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import drqfaiss
from drqfaiss import _core
from drqfaiss._plugin.capabilities import CAPABILITIES
from drqfaiss._plugin.check import measure
from drqfaiss._plugin.identity import Identity, identify

TIMEOUT = 120.0  # Seconds; a probe takes one or two.
Verdict = dict[str, str]  # Why each capability is off; "" if it is on.


class NotProbedError(RuntimeError):
    """No child process could tell anything, which says nothing about FAISS."""


def verdict_of(identity: Identity, fresh: bool = False) -> Verdict:
    """Return what of an unknown FAISS the plug-in may use, from the cache or from a child process.

    Args:
        identity: The library.
        fresh: Whether to try again, whatever the cache says.

    Raises:
        NotProbedError: If no child process can be run with this FAISS.
    """
    path = _cache_path(identity)
    cached = None if fresh or path is None else _read(path)
    if cached is not None:
        return cached
    verdict = _probed(identity)
    if path is not None:
        _write(path, verdict)
    return verdict


def _probed(identity: Identity) -> Verdict:
    """Try everything, and once more without what ended the child process."""
    verdict = dict.fromkeys(CAPABILITIES, "")
    while True:
        wanted = [name for name in CAPABILITIES if not verdict[name]]
        ended_in, how, refused = _run_child(identity, wanted)
        verdict.update(refused)
        if ended_in:
            verdict[ended_in] = f"{how} in the {ended_in} probe"
        if verdict["flat"] or not ended_in:
            break
    return _with_consequences(verdict)


def _with_consequences(verdict: Verdict) -> Verdict:
    for name, needed in zip(CAPABILITIES[1:], CAPABILITIES, strict=False):
        if verdict[needed]:
            verdict[name] = verdict[name] or f"{needed} is off"
    return verdict


def _run_child(identity: Identity, wanted: list[str]) -> tuple[str, str, Verdict]:
    """Return in what the child ended and how, both empty if it came to its end, and what it refused."""
    command = [sys.executable, "-W", "ignore", "-m", __name__, *wanted]
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "DRQFAISS_PLUGIN": "off"}  # The child has no child.
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT
        )
        output, status, how = done.stdout, done.returncode, _told(done.returncode)
    except subprocess.TimeoutExpired as error:
        output, status, how = error.stdout or b"", 1, f"no answer in {TIMEOUT:g} s"
    except OSError as error:
        raise NotProbedError(f"{sys.executable} could not be run: {error}") from error
    lines = _lines(output)
    if not lines or lines[0] != [identity.library, identity.build_id]:
        raise NotProbedError(f"{' '.join(command)} does not load {identity.library}: {how}")
    refused = {name: reason for name, reason in lines[1:] if reason}
    if status == 0 or "flat" in refused:
        return "", "", refused
    return lines[-1][0], how, refused


def _lines(output: bytes) -> list[list[str]]:
    lines = []
    for line in output.decode(errors="replace").splitlines():
        try:
            name, reason = json.loads(line)
        except ValueError:  # FAISS or the system printed something.
            continue
        lines.append([str(name), str(reason)])
    return lines


def _told(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"


def _cache_path(identity: Identity) -> Path | None:
    """Return the file of the verdict, or None if there is no place for it."""
    own, users = os.environ.get("DRQFAISS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(own) if own else Path(users or Path.home() / ".cache", "drqfaiss")
        binary = hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:16]
    except (OSError, RuntimeError):  # There is no home folder.
        return None
    return folder / f"faiss-{identity.build_id}-drqfaiss-{drqfaiss.__version__}-{binary}.json"


def _read(path: Path) -> Verdict | None:
    """Return a verdict that is whole, or None."""
    try:
        verdict = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(verdict, dict) or verdict.keys() != set(CAPABILITIES):
        return None
    return verdict if all(isinstance(reason, str) for reason in verdict.values()) else None


def _write(path: Path, verdict: Verdict) -> None:
    """Keep a verdict; where that is not possible, the next process probes again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=".faiss-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(verdict, file)
            os.replace(written, path)
        except BaseException:
            os.unlink(written)
            raise
    except OSError:
        pass


def _say(name: str, reason: str) -> None:
    print(json.dumps([name, reason]), flush=True)


def main(wanted: list[str]) -> None:
    """Identify FAISS, then tell each capability before it is tried, and why it is refused."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # A crash is an answer: nobody looks into its memory.
    identity = identify()
    _say(identity.library, identity.build_id)
    try:
        measure(wanted, _say)
    except Exception as error:
        _say("flat", str(error) or type(error).__name__)


if __name__ == "__main__":
    main(sys.argv[1:])
