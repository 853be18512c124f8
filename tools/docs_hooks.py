"""For mkdocs: what pages link to outside docs/. Figures are taken along; files of the repository are named."""

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(\.\./([^)#]+)(#[^)]*)?\)")
FIGURES = ("experiments/*.png", "data/recording/*.png")


def on_files(files, config):
    for pattern in FIGURES:
        for figure in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return Files(list(files))


def on_page_markdown(markdown, page, config, files):
    """`../` works where the repository is browsed; a built page has only what lies in docs/."""

    def replaced(match):
        image, text, path, _ = match.groups()
        if not (ROOT / path).exists():
            raise ValueError(f"{page.file.src_uri}: no such file: {path}")
        if image:
            return f"![{text}](figures/{Path(path).name})"
        return text if text.startswith("`") or path.endswith(".md") else f"`{path}`"

    return LINK.sub(replaced, markdown)
