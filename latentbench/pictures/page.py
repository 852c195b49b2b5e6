"""A web page in one file: it asks nothing of the network, and runs no script but its own.

Templates escape whatever is put into them. The page's policy names its scripts by their digests,
so that markup in the name of a run could not run even where an escape was forgotten.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from latentbench import __version__
from latentbench.errors import UsageError
from latentbench.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

__all__ = ["asset", "bundle", "render"]

EMBED = "window.vegaEmbed = vegaEmbed;"  # the one name that a page takes of Vega

POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; "
    "media-src data:; base-uri 'none'; form-action 'none'"
)


def render(template: str, scripts: Sequence[str] = (), **given: Any) -> str:
    """The text of a page.

    Args:
        template: a file in `templates` that extends `page.html`.
        scripts: that the page runs, in order.
        **given: what the template shows, `title` among it.
    """
    from markupsafe import Markup  # noqa: PLC0415 - an extra

    digests = (b64encode(sha256(one.encode()).digest()).decode() for one in scripts)
    policy = POLICY.format(scripts=" ".join(f"'sha256-{one}'" for one in digests) or "'none'")
    return (
        _environment()
        .get_template(template)
        .render(
            version=__version__,
            style=Markup(asset("page.css")),  # noqa: S704 - our own
            scripts=list(map(Markup, scripts)),
            policy=policy,
            **given,
        )
    )


def asset(name: str) -> str:
    """The text of a file in `templates`."""
    return (files("latentbench.pictures") / "templates" / name).read_text("utf-8")


@cache
def bundle() -> tuple[str, str]:
    """The version of Vega-Lite that Altair writes, and the script that draws it.

    Raises:
        UsageError: Altair or vl-convert is missing.
    """
    try:
        import altair as alt  # noqa: PLC0415 - an extra
        import vl_convert  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The page needs {error.name}, which is not installed.",
            "pip install 'latentbench[report]'",
        ) from None
    version = ".".join(alt.SCHEMA_VERSION.strip("v").split(".")[:2])
    return version, vl_convert.javascript_bundle(EMBED, vl_version=version)


def _finalized(value: object) -> object:
    """What steers a reader's eyes, as marks that turn text around, is written out."""
    return printable(value, keep="\n") if type(value) is str else value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an extra

    return Environment(
        loader=PackageLoader("latentbench.pictures"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
    )
