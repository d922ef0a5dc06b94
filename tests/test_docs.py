"""The code on a page of the documentation runs from top to bottom, as a reader would type it."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import drqfaiss
from drqfaiss import TrainingOptions
from drqfaiss._least_squares.options import QUALITIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages with code, and the files that it leaves where it runs.
PAGES = {
    "howto/cli.md": {
        "again.faiss",
        "base.drq.json",
        "base.faiss",
        "base.npy",
        "ivf.faiss",
        "neighbours.ivecs",
        "query.npy",
        "trained-ivf.faiss",
        "trained.faiss",
    },
    "howto/code-length.md": set(),
    "howto/embeddings.md": set(),
    "howto/filter.md": set(),
    "howto/from-pq.md": set(),
    "howto/files.md": {"quantizer.npz", "x.faiss"},
    "howto/ids.md": set(),
    "howto/inverted-lists.md": set(),
    "howto/levels-on-disk.md": {"base.faiss", "base.faiss.tail"},
    "howto/labels.md": {"digits.checkpoint", "digits.jsonl", "digits.pt"},
    "howto/migrate.md": {"yours.faiss"},
    "howto/nested.md": set(),
    "howto/plan.md": set(),
    "howto/scale.md": {"delta", "merged", "shards", *(f"part-{i}.npy" for i in range(4))},
    "howto/serve.md": {"served.faiss"},
    "howto/start.md": {"sentences.drq.json", "sentences.faiss"},
    "howto/train.md": set(),
    "howto/tune.md": {"tuned.drq.json", "tuned.faiss"},
}
TESTED_ELSEWHERE = {"howto/clients.md"}  # by make test-clients
LINKED = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]


def script(page):
    """One Python program of all Python and shell snippets, in their order."""
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    shell = "import subprocess; subprocess.run(['bash', '-euc', {!r}], check=True)\n"
    return "".join(code if language == "python" else shell.format(code) for language, code in blocks)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_snippets_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    page = (DOCS / name).read_text()
    code = script(page)
    assert "drqfaiss" in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == PAGES[name]
    assert done.stdout or "```bash" not in page


def test_every_page_with_code_is_run():
    pages = {page.relative_to(DOCS).as_posix(): page.read_text() for page in DOCS.rglob("*.md")}
    with_code = {name for name, page in pages.items() if re.search(r"^```(python|bash)$", page, re.MULTILINE)}
    assert with_code == set(PAGES) | TESTED_ELSEWHERE


def test_the_api_page_names_all_that_is_public():
    page = (DOCS / "api.md").read_text()
    assert not [name for name in drqfaiss.__all__ if f"`{name}" not in page]


def test_every_source_says_what_it_is():
    sources = [path for root in ("csrc", "drqfaiss", "benchmarks") for path in (ROOT / root).rglob("*")]
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in sources
        if path.suffix in (".py", ".h", ".cpp", ".inl")
        and not path.read_text().startswith(("//", '"""'))
        and not path.with_suffix(".h").exists()
    ]
    assert set(silent) <= {
        "csrc/core/search/norms.cpp",
        "csrc/faiss_cpp/IndexDRQ.cpp",
    }  # its header: include/


def test_extras_that_texts_name_exist():
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.search(r"(?ms)^\[project.optional-dependencies\]\n(.*?)^\[", project)[1]
    known = set(re.findall(r"^(\w+) = ", extras, re.MULTILINE))
    texts = [*LINKED, *(ROOT / "drqfaiss").rglob("*.py"), ROOT / "pyproject.toml"]
    named = {name for path in texts for name in re.findall(r"(?:drqfaiss|'\.)\[(\w+)\]", path.read_text())}
    assert {"cli", "train"} <= named <= known


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = {target for page in LINKED for target in re.findall(r"`make ([a-z0-9-]+)", page.read_text())}
    assert targets >= {"bench", "bench-speed", "demo", "docs", "test-clients"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_picture_is_shown_and_described():
    shown = "".join(page.read_text() for page in LINKED)
    for picture in (DOCS / "pictures").iterdir():
        assert re.search(rf"!\[[^\]]{{20,}}\]\([./\w]*pictures/{picture.name}\)", shown), picture.name


def test_the_table_of_training_options_is_that_of_the_code():
    by_quality = {name for name in QUALITIES["default"]._fields if hasattr(TrainingOptions, name)}
    rows = [
        f"| `{option.name}` | {'by quality' if option.name in by_quality else f'`{option.default!r}`'} "
        f"| {option.metadata['says']} |"
        for option in fields(TrainingOptions)
    ]
    assert "\n".join(rows) + "\n\n" in (DOCS / "howto/train.md").read_text()


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs write them."""
    titles = re.findall(r"^#+ (.+)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_hold(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
