"""Every snippet of docs/howto/clients.md is run, in order, in one namespace, as a reader would type them."""

import re
import subprocess
import sys
from pathlib import Path

HOW_TO = (Path(__file__).parents[2] / "docs" / "howto" / "clients.md").read_text()


def test_snippets_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", HOW_TO, re.DOTALL | re.MULTILINE))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"langchain", "llama", "dataset.faiss", "haystack.faiss", "haystack.json"}
