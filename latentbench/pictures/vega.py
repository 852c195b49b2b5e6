"""The script that draws the charts of a page."""

from __future__ import annotations

from functools import cache

from latentbench.errors import UsageError

__all__ = ["bundle"]

EMBED = "window.vegaEmbed = vegaEmbed;"  # the one name that the page takes of Vega


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
