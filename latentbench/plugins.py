"""Plugins: find them, validate them, keep the bad ones apart, and list what they provide.

Each plugin is loaded on its own. One that fails to import, implements a hook that does not exist
or yields a spec that is not one is refused and named with its distribution and the reason;
everything else works. Two components of one name are never resolved by order: using either is an
error that names both.

`LATENTBENCH_PLUGINS=a,b` limits which distributions' plugins are loaded; empty, it loads only
those built in. A file the user names with `--plugin FILE` must load: it is never passed over.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from typing import TYPE_CHECKING, Any, get_type_hints

import pluggy

from latentbench import hookspecs
from latentbench.errors import UsageError, missing_module, nearest
from latentbench.specs import KINDS, ComponentSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path
    from types import ModuleType

__all__ = ["BUILTIN", "Component", "Provider", "Refusal", "Registry", "load_registry"]

BUILTIN = (
    "latentbench.corpora.plugin",
    "latentbench.encoders.plugin",
    "latentbench.latents.plugin",
    "latentbench.factorizations.plugin",
    "latentbench.predictors.plugin",
    "latentbench.metrics.plugin",
    "latentbench.engines.plugin",
    "latentbench.reports.plugin",
    "latentbench.trackers.plugin",
    "latentbench.worlds.plugin",
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
RESERVED = {"name", "inline"}  # a component's own keys in the configuration


@dataclass(frozen=True)
class Provider:
    """Whose plugin it is: distribution (or file), its version, the module, and its entry point."""

    distribution: str
    version: str
    module: str
    entry: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def names(self) -> set[str]:
        """What a user may call it: as above, and the distribution without `latentbench-`."""
        short = self.distribution.removeprefix("latentbench-")
        return {self.distribution, short, self.module, self.entry} - {""}


@dataclass(frozen=True)
class Component:
    """A spec and who provides it.

    Attributes:
        spec: what it says of itself.
        provider: whose it is.
        code: digest of the code of one that was given from Python; empty for a plugin's.
    """

    spec: ComponentSpec
    provider: Provider
    code: str = ""

    def __str__(self) -> str:
        return f"{self.spec.kind} '{self.spec.name}' of {self.provider}"

    @property
    def name(self) -> str:
        """What a user types."""
        return self.spec.name

    @property
    def summary(self) -> str:
        """One line of what it is."""
        return self.spec.summary

    def missing(self) -> list[str]:
        """The requirements of the spec that this environment does not meet."""
        return [need for need in self.spec.requires if not _is_met(need)]

    def create(self, options: Any, *args: Any, **kwargs: Any) -> Any:
        """Import the factory, call it and declare what the spec says of the one made.

        Raises:
            UsageError: a requirement is missing, or the factory cannot be imported.
        """
        if missing := self.missing():
            raise UsageError(
                f"The {self} cannot run here: {', '.join(missing)} not installed.", _pip(missing)
            )
        try:
            made = self.factory()(options, *args, **kwargs)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"The {self} needs the module '{error.name}', which is not installed.",
                self._remedy(error),
            ) from error
        except ImportError as error:
            raise UsageError(
                f"The {self} names the factory '{self.spec.factory}', "
                f"which cannot be imported: {error}",
                f"Reinstall or update {self.provider.distribution}.",
            ) from error
        self.spec.declare(made, options)
        return made

    def factory(self) -> Callable[..., Any]:
        """Import what makes it.

        Raises:
            ImportError: it is not there.
        """
        given = self.spec.factory
        if not isinstance(given, str):
            return given
        module, _, attribute = given.partition(":")
        imported = importlib.import_module(module)
        if (factory := getattr(imported, attribute, None)) is None:
            raise ImportError(f"module '{module}' has no attribute '{attribute}'")
        found: Callable[..., Any] = factory
        return found

    def _remedy(self, error: ModuleNotFoundError) -> str:
        """The pip command that brings a module: by the distribution's requirements, or by name."""
        own, *_ = re.split("[.:]", str(self.spec.factory))
        distribution = self.provider.distribution
        if (error.name or "").partition(".")[0] == own:
            return f"Reinstall or update {distribution}."
        try:
            unmet = [need for need in requires(distribution) or () if not _is_met(need)]
        except PackageNotFoundError:
            unmet = []
        return _pip(unmet) if unmet else missing_module(error)


@dataclass(frozen=True)
class Refusal:
    """A plugin that was not registered, and why."""

    provider: Provider
    reason: str

    def __str__(self) -> str:
        return f"{self.provider} ({self.provider.module}): {self.reason}"


@dataclass
class Registry:
    """All components that loaded, by kind and name, and the plugins that were refused.

    Sent to another process it is loaded again there; components given from Python are sent by the
    names of their classes.

    Attributes:
        components: in the order they were loaded.
        refusals: why the others were not.
        files: that were loaded as inline plugins; a worker elsewhere must load them too.
    """

    components: list[Component] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    files: tuple[Path, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self.files, self.inline)

    @property
    def inline(self) -> tuple[Component, ...]:
        """Those that were given from Python."""
        return tuple(one for one in self.components if one.code)

    def beside(self, components: Iterable[Component]) -> Registry:
        """All of this, and components that were given from Python."""
        return replace(self, components=[*self.components, *components])

    def of_kind(self, kind: str) -> list[Component]:
        """The components of one kind, by name."""
        found = [component for component in self.components if component.spec.kind == kind]
        return sorted(found, key=lambda component: component.spec.name)

    def conflicts(self) -> list[tuple[Component, ...]]:
        """Groups of components that share kind and name."""
        groups: dict[tuple[str, str], list[Component]] = {}
        for component in self.components:
            groups.setdefault((component.spec.kind, component.spec.name), []).append(component)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def conflict_errors(self) -> list[UsageError]:
        """What to tell of each of `conflicts`."""
        return [_conflict(group) for group in self.conflicts()]

    def get(self, kind: str, name: str) -> Component:
        """The component of that kind and name.

        Raises:
            UsageError: there is none (names the nearest, and any refused plugin), or two
                distributions provide it (names both).
        """
        known = self.of_kind(kind)
        found = [component for component in known if component.spec.name == name]
        if not found:
            raise self._absent(kind, name, known)
        if len(found) > 1:
            raise _conflict(found)
        return found[0]

    def find(self, name: str) -> list[Component]:
        """All components called `name`, of any kind.

        Raises:
            UsageError: there is none (names the nearest, and any refused plugin).
        """
        found = [component for component in self.components if component.spec.name == name]
        if not found:
            raise self._absent("plugin", name, self.components)
        return found

    def require_clean(self) -> None:
        """Fail if anything was refused or is in conflict (`--strict-plugins`).

        Raises:
            UsageError: names every refusal, or the first conflict.
        """
        if self.refusals:
            raise UsageError(
                f"Refused plugins: {self._refused(self.refusals)}",
                "Fix or uninstall them, or run without --strict-plugins.",
            )
        for error in self.conflict_errors():
            raise error

    def _absent(self, kind: str, name: str, known: Iterable[Component]) -> UsageError:
        """Why nothing is called so: the refusal, where a refused plugin goes by the name."""
        by_name = [one for one in self.refusals if name in one.provider.names]
        if by_name:
            module = by_name[0].provider.module.partition(":")[0]
            return UsageError(
                f"The plugin '{name}' was refused: {self._refused(by_name)}",
                f'Mend or reinstall it; python -c "import {module}" shows where it failed.',
            )
        hint = nearest(name, {component.spec.name for component in known})
        if self.refusals:
            hint += f" Refused plugins: {self._refused(self.refusals)}"
        return UsageError(f"There is no {kind} called '{name}'.", hint)

    @staticmethod
    def _refused(refusals: Iterable[Refusal]) -> str:
        return "; ".join(map(str, refusals))


def load_registry(files: Iterable[Path] = ()) -> Registry:
    """Load the built-in plugins, the installed ones, and the inline plugin `files`.

    Raises:
        UsageError: a file is not there or is no plugin, or two have one name.
    """
    files = tuple(files)
    _refuse_one_name(files)
    registry, release = Registry(files=files), version("latentbench")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in BUILTIN:
        provider = Provider("latentbench", release, name)
        _register(registry, manager, provider, partial(importlib.import_module, name))
    for entry in _entry_points(registry, os.environ.get("LATENTBENCH_PLUGINS")):
        owner = (entry.dist.name, entry.dist.version) if entry.dist else (entry.name, "")
        _register(registry, manager, Provider(*owner, entry.value, entry.name), entry.load)
    for file in files:
        provider = Provider(str(file), "", file.stem)
        refusal = _register(registry, manager, provider, partial(_load_file, file))
        if refusal is not None:
            raise UsageError(f"The plugin file '{file}' cannot be used: {refusal.reason}.")
    return registry


def _elsewhere(files: Sequence[Path], inline: Sequence[Component]) -> Registry:
    return load_registry(files).beside(inline)


def _entry_points(registry: Registry, wanted: str | None) -> Iterator[EntryPoint]:
    """The installed plugins, those `wanted` where it is given; names it lacks are refused."""
    installed = entry_points(group=hookspecs.PROJECT)
    if wanted is None:
        yield from installed
        return
    names = {name.strip() for name in wanted.split(",")} - {""}
    known: set[str] = set()
    for entry in installed:
        provides = {entry.name} | ({entry.dist.name} if entry.dist else set())
        known |= provides
        if provides & names:
            yield entry
    for name in sorted(names - known):
        provider = Provider(name, "", "LATENTBENCH_PLUGINS")
        registry.refusals.append(Refusal(provider, f"it is not installed. {nearest(name, known)}"))


def _register(
    registry: Registry,
    manager: pluggy.PluginManager,
    provider: Provider,
    load: Callable[[], ModuleType],
) -> Refusal | None:
    try:
        components = [Component(spec, provider) for spec in _specs(manager, load())]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may do anything
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason += f". {missing_module(error)}"
        refusal = Refusal(provider, reason)
        registry.refusals.append(refusal)
        return refusal
    registry.components.extend(components)
    return None


def _specs(manager: pluggy.PluginManager, module: ModuleType) -> list[ComponentSpec]:
    """Register the module alone, so that what is wrong with it is its own."""
    try:
        manager.register(module)
        manager.check_pending()
        decorated = [spec for one in vars(module).values() if (spec := _spec_of(one, module))]
        if not manager.get_hookcallers(module):
            if not decorated:
                raise TypeError("it implements no latentbench hook")
            return [_validated(type(spec), spec) for spec in decorated]
        return [
            _validated(kind, spec)
            for kind in KINDS.values()
            for yielded in getattr(manager.hook, kind.hook)()
            for spec in yielded
        ]
    finally:
        if manager.is_registered(module):
            manager.unregister(module)


def _spec_of(made: Any, module: ModuleType) -> ComponentSpec | None:
    """The spec of what a decorator made in a module; a module of these needs no hook."""
    spec = getattr(made, "spec", None)
    own = getattr(made, "__module__", "") == module.__name__
    return spec if own and isinstance(spec, ComponentSpec) else None


def _validated(kind: type[ComponentSpec], spec: Any) -> ComponentSpec:
    if not isinstance(spec, kind):
        raise TypeError(f"{kind.hook} yielded {spec!r}, which is no {kind.__name__}")
    whose = f"{kind.kind} '{spec.name}'"
    if not NAME.fullmatch(spec.name) or not spec.summary:
        raise ValueError(
            f"{spec!r} lacks a summary, or a name of letters, digits and any of '.', '_', '-'"
        )
    if not isinstance(spec.factory, str) or not all(spec.factory.partition(":")):
        raise ValueError(f"{whose} has factory {spec.factory!r}, expected 'package.module:Class'")
    if not is_dataclass(spec.options) or not isinstance(spec.options, type):
        raise TypeError(f"{whose} has options {spec.options!r}, expected a dataclass")
    for name in RESERVED & {option.name for option in fields(spec.options)}:
        raise ValueError(f"{whose} has an option '{name}', which says which component it is")
    get_type_hints(spec.options)  # raises where a type is not importable at run time
    return spec


def _refuse_one_name(files: Sequence[Path]) -> None:
    """Refuse files whose modules would have one name: factories would find the last one's classes.

    Raises:
        UsageError: names two of them.
    """
    known: dict[str, Path] = {}
    for file in files:
        if (other := known.setdefault(file.stem, file)) is not file:
            raise UsageError(
                f"Two plugin files are called '{file.stem}': '{other}' and '{file}'.",
                "Name each once, and rename one of two: its name is that of its module.",
            )


def _load_file(file: Path) -> ModuleType:
    name = f"latentbench_inline_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that factory="latentbench_inline_...:Class" is importable
    spec.loader.exec_module(module)
    return module


def _is_met(need: str) -> bool:
    """Whether a PEP 508 requirement is met here; one that cannot be read is not."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - not for --help

    try:
        requirement = Requirement(need)
        if requirement.marker is not None and not requirement.marker.evaluate():
            return True
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except (InvalidRequirement, PackageNotFoundError):
        return False


def _pip(needs: Iterable[str]) -> str:
    return f"pip install {' '.join(map(repr, needs))}"


def _conflict(group: Sequence[Component]) -> UsageError:
    spec = group[0].spec
    return UsageError(
        f"Two plugins provide the {spec.kind} '{spec.name}': "
        f"{' and '.join(str(component.provider) for component in group)}.",
        "Uninstall one, or name the ones to load with LATENTBENCH_PLUGINS=name,name.",
    )
