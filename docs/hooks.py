"""What the documentation site has beyond the pages in this folder.

- README as its first page, and the other pages at the top of the repository,
- the notebook, as `make docs` has executed it,
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
    found = ["drqfaiss"]
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
