"""`latentbench cache`: what latentbench keeps because making it again takes long."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click

from latentbench.amounts import bytes_text
from latentbench.cli.groups import NamingGroup
from latentbench.cli.output import console, echo, echo_json
from latentbench.cli.session import cache_option
from latentbench.errors import UsageError, counted, nearest
from latentbench.reports.tables import ANY_WIDTH, Line, Table, column, show

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from latentbench.latents.store import StoreInfo

__all__ = ["cache"]

FOLDERS = {
    "downloads": "corpora and weights",
    "hf": "audio of data sets of Hugging Face",
    "latents": "every latent store",
    "speech-demo": "speech made by espeak-ng",
}


@click.group(cls=NamingGroup)
def cache() -> None:
    """List, measure and remove what can be made again."""


@cache.command("list")
@cache_option
def list_cache(cache: Path | None, *, as_json: bool) -> None:
    """List latent stores, then the other folders."""
    root = _root(cache)
    stores, sizes = _stores(root), _sizes(root)
    if as_json:
        echo_json(_as_json(root, stores, sizes))
        return
    rows = [
        (
            one.key,
            f"{one.encoder} on {one.corpus}, {counted(one.utterances, 'utterance')}",
            one.bytes,
        )
        for one in stores
    ]
    rows += [(name, FOLDERS[name], size) for name, size in sizes.items()]
    table = Table(
        (
            column("name", rows, lambda row: row[0], left=True, fold=ANY_WIDTH),
            column("what it is", rows, lambda row: row[1], left=True, fold=ANY_WIDTH),
            column("size", rows, lambda row: bytes_text(row[2])),
        )
    )
    show([Line(str(root)), table], console())


@cache.command("size")
@cache_option
def size_of_cache(cache: Path | None, *, as_json: bool) -> None:
    """Print the size of each folder and of all."""
    sizes = _sizes(_root(cache))
    if as_json:
        echo_json({**sizes, "all": sum(sizes.values())})
        return
    for name, size in (*sizes.items(), ("all", sum(sizes.values()))):
        echo(f"{name:<12} {bytes_text(size):>10}")


@cache.command("remove")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@cache_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_from_cache(
    names: tuple[str, ...], cache: Path | None, *, yes: bool, as_json: bool
) -> None:
    """Remove latent stores or folders by the names that 'cache list' prints."""
    root = _root(cache)
    stores, sizes = {store.key: store.bytes for store in _stores(root)}, _sizes(root)
    present = sizes | stores
    for name in names:
        if name not in present:
            raise UsageError(f"There is no '{name}' in {root}.", nearest(name, present))
        if name in sizes and name != "latents" and not _is_ours(root, name):
            raise UsageError(
                f"'{root / name}' was not made by this version of latentbench: it holds no mark "
                "(CACHEDIR.TAG) of it.",
                "Remove the folder by hand if nothing in it is yours to keep.",
            )
    total = bytes_text(sum(present[name] for name in names))
    if not yes and not click.confirm(f"Remove {', '.join(names)} ({total}) from {root}?"):
        names = ()
    for name in names:
        _remove(root, name, stores)
    if as_json:
        echo_json({"removed": names, "bytes": sum(present[name] for name in names)})
        return
    echo(f"Removed {', '.join(names)} ({total})." if names else "Nothing was removed.")


def _is_ours(root: Path, name: str) -> bool:
    """Whether a folder is marked, or lies where nobody else keeps anything."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - not for --help

    from latentbench.workspace import is_ours  # noqa: PLC0415

    return is_ours(root / name) or root == user_cache_path("latentbench")


def _remove(root: Path, name: str, stores: Collection[str]) -> None:
    """Remove a store or folder that may be gone by now; stores only where nobody writes to them."""
    from latentbench.latents.store import remove_store  # noqa: PLC0415 - imports torch

    for store in stores if name == "latents" else {name} & set(stores):
        if (root / "latents" / store).exists():
            remove_store(root, store)
    if name in FOLDERS and (root / name).exists() and _is_ours(root, name):
        shutil.rmtree(root / name)


def _root(cache: Path | None) -> Path:
    from latentbench.workspace import default_cache  # noqa: PLC0415 - not for --help

    return cache or default_cache()


def _stores(root: Path) -> list[StoreInfo]:
    if not (root / "latents").is_dir():
        return []
    from latentbench.latents.store import list_stores  # noqa: PLC0415 - imports torch

    return list_stores(root)


def _sizes(root: Path) -> dict[str, int]:
    """The size of each folder that is there, in bytes."""
    return {
        name: sum(file.stat().st_size for file in (root / name).rglob("*") if file.is_file())
        for name in FOLDERS
        if (root / name).is_dir()
    }


def _as_json(root: Path, stores: list[StoreInfo], sizes: dict[str, int]) -> dict[str, Any]:
    return {
        "cache": str(root),
        "stores": [
            {
                "name": store.key,
                **{of: getattr(store, of) for of in ("encoder", "corpus", "utterances", "bytes")},
            }
            for store in stores
        ],
        "folders": sizes,
    }
