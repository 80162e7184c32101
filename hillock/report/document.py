"""The frame of every page: one HTML file with style, figures and plotly.js inside, and no request to any host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hillock.training.checkpoint import write_whole

if TYPE_CHECKING:
    import jinja2

__all__ = ["write_page"]


def write_page(path: Path, template: str, figures: Mapping[str, Mapping[str, Any]], **values: Any) -> None:
    """Render `templates/<template>` to a file that stands alone.

    `figures` are plotly figures by name, as plain `{"data": [...], "layout": {...}}`; the template places one with
    `{{ figure("name") }}`. Where a colour is wanted, a figure says `--series-1` or `--series-1/0.2`: a colour of the
    page's style, here at an opacity of 0.2, which then follows the reader's light or dark theme. Everything put in by
    `values` is escaped.
    """
    environment = _environment()
    text = environment.get_template(template).render(
        figures={name: _script_safe(figure) for name, figure in figures.items()},
        plotly=_plotly() if figures else "",
        version=metadata.version("hillock"),
        **values,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hillock.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["figure"] = _place
    return environment


def _place(name: str, label: str, height: int = 380) -> Any:
    """Return where a figure goes; `label` is what a screen reader says of it."""
    import markupsafe

    return markupsafe.Markup(
        '<div class="figure" role="img" data-figure="{}" aria-label="{}" style="height:{}px"></div>'
    ).format(name, label, height)


def _script_safe(figure: Mapping[str, Any]) -> Any:
    """Return a figure as JSON that cannot end the script element that it stands in."""
    import markupsafe

    text = json.dumps(figure, allow_nan=False, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e")
    return markupsafe.Markup(text)


@cache
def _plotly() -> Any:
    import markupsafe

    bundle = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    assert "</script" not in bundle.lower()
    return markupsafe.Markup(bundle)
