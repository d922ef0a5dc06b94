"""What the documentation site has beyond the pages in this folder.

- README as its first page, and the other pages at the top of the repository,
- the notebook, as `make docs` has executed it,
- a map of the sources, from the first sentence of each file,
- a page for every table in benchmarks/results,
- a reference page for every public module,
- navigation for pages that mkdocs.yml does not name,
- links, which are those of the repository: to the site's pages where there is one, else plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "build" / "notebook"
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = (".png", ".svg")
OTHERS = "Inside"  # the section of pages that mkdocs.yml does not name
MAP = "map.md"
MAPPED = ("csrc", "drqfaiss", "benchmarks")
TOP_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation."""
    named = set(_pages(config.nav))
    docs = Path(config.docs_dir)
    others = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    section = next(entry[OTHERS] for entry in config.nav if OTHERS in entry)
    section += [page for page in others if page not in named]
    config.nav += [
        {"Benchmarks": ["benchmarks/README.md", *sorted(f"benchmarks/{path.name}" for path in _tables())]},
        {"Reference": [f"reference/{module}.md" for module in _modules()]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from other files."""
    if not NOTEBOOK.is_dir():
        raise PluginError(f"{NOTEBOOK} does not exist: `make docs` executes the notebook first")
    files.append(File.generated(config, MAP, content=_source_map()))
    for source, uri in TOP_PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / source).read_text()))
    for path in filter(Path.is_file, NOTEBOOK.rglob("*")):
        _add(files, config, f"notebook/{path.relative_to(NOTEBOOK).as_posix()}", path)
    for path in RESULTS.rglob("*"):
        if path.suffix in PICTURES:
            _add(files, config, f"benchmarks/{path.name}", path)
    overview = (RESULTS / "README.md").read_text()
    files.append(File.generated(config, "benchmarks/README.md", content=f"# Benchmarks\n\n{overview}"))
    for path in _tables():
        files.append(File.generated(config, f"benchmarks/{path.name}", content=_table_page(path)))
    for module in _modules():
        content = f"# {module}\n\n::: {module}\n"
        files.append(File.generated(config, f"reference/{module}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links, which are those of the repository, to where their files are on the site."""
    folder = _source_folder(page.file.src_uri)
    here = Path(page.file.src_uri).parent.as_posix()

    def resolved(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or ":" in path or files.get_file_from_path(normpath(f"{here}/{path}")):
            return match[0]
        place = normpath(f"{folder}/{path}")
        if not (ROOT / place).exists():
            raise PluginError(
                f"{page.file.src_uri}: the link {target} leads to {place}, which does not exist"
            )
        on_site = _on_site(place)
        if on_site is None:
            return text
        return f"{picture}[{text}]({relpath(on_site, here)}{'#' + anchor if anchor else ''})"

    return _LINK.sub(resolved, markdown)


def _source_map() -> str:
    """Return a page that says of every source file what it is."""
    lines = ["# Map of the sources", "", "What each file is, in its own first words.", ""]
    folder = None
    paths = [
        path
        for root in MAPPED
        for path in sorted((ROOT / root).rglob("*"), key=lambda path: (path.parent, path.name))
    ]
    for path in paths:
        sentence = first_sentence(path)
        if sentence is None:
            continue
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"## {folder.relative_to(ROOT)}", "", "| | |", "|---|---|"]
        lines.append(f"| `{path.name}` | {sentence.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def first_sentence(path: Path) -> str | None:
    """Return what a source file says it is; None if it is no source, or the .cpp of a header that says it."""
    if path.suffix not in (".py", ".h", ".cpp", ".inl"):
        return None
    lead = re.match(r'"""(.+?)(?:"""|\n\n)|((?://[^\n]*\n)+)', path.read_text(), re.DOTALL)
    if lead is None:
        return None
    comment = re.sub(r"^//", "", lead[2], flags=re.MULTILINE) if lead[1] is None else lead[1]
    return re.split(r"(?<=\.)\s|\n\s*\n", " ".join(comment.split()))[0]


def _pages(nav: list) -> list[str]:
    """Return the files that a navigation names."""
    found = []
    for entry in nav:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            found += _pages(value) if isinstance(value, list) else [value]
    return found


def _tables() -> list[Path]:
    return sorted(path for path in RESULTS.rglob("*.md") if path.name != "README.md")


def _table_page(path: Path) -> str:
    """Return a table below its title and the pictures that belong to it."""
    pictures = [p for p in sorted(path.parent.glob(f"{path.stem}*")) if p.suffix in PICTURES]
    shown = "".join(f"![{picture.stem}]({picture.name})\n\n" for picture in pictures)
    return f"# {path.stem}\n\n{shown}{path.read_text()}"


def _modules() -> list[str]:
    """Return the names of the public modules, the package first."""
    found = ["drqfaiss", "drqfaiss.distributed", "drqfaiss.serving"]
    for path in sorted((ROOT / "drqfaiss").rglob("*.py")):
        names = path.relative_to(ROOT).with_suffix("").parts
        if not any(name.startswith("_") or name == "cli" for name in names):
            found.append(".".join(names))
    return found


def _add(files: Files, config: MkDocsConfig, uri: str, path: Path) -> None:
    files.append(File.generated(config, uri, abs_src_path=str(path)))


def _source_folder(uri: str) -> str:
    """Return the folder in the repository that a page's links start from."""
    if uri in TOP_PAGES.values():
        return "."
    folder = Path(uri).parent.as_posix()
    return {"benchmarks": "benchmarks/results", "notebook": "examples"}.get(folder, f"docs/{folder}")


def _on_site(place: str) -> str | None:
    """Return the page or picture of a file in the repository; None if it has none."""
    if place in TOP_PAGES:
        return TOP_PAGES[place]
    if place.startswith("docs/") and Path(place).suffix in (".md", *PICTURES):
        return place.removeprefix("docs/")
    if place in ("benchmarks", "benchmarks/results"):
        return "benchmarks/README.md"
    if place.startswith("benchmarks/results/") and Path(place).suffix in (".md", *PICTURES):
        return f"benchmarks/{Path(place).name}"
    if place == "drqfaiss/__init__.py":
        return "reference/drqfaiss.md"
    return "notebook/tour.md" if place == "examples/tour.ipynb" else None
