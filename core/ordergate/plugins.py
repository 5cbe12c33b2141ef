"""Plugins: what is installed, and what of it may be admitted.

`discover` reads the metadata of everything installed and imports nothing. `admit` takes one active plugin in:
exactly one distribution provides it, its pin holds, its module imports, and every function it marks with
`@hookimpl` is a plain function that a hook of its kind can call. What cannot be admitted raises
`PluginError`; the gate then lets no buy through.

pluggy is the door, not the corridor: each plugin is registered alone, for the check of its signatures, and
what comes out are function objects that the gate calls one by one. There no wrapper exists, no order of
calls, and nothing registered later.

Codes of `PluginError`:

    plugin_missing          no installed distribution provides it
    plugin_provided_twice   more than one does, so it is not clear whose code would run
    pin_mismatch            what is installed is not what was pinned
    pin_editable            it is pinned, but its files are not all known: editable, or no list of them
    pin_unreadable          it is pinned, but one of its files cannot be read
    plugin_shadowed         importing it would run a file that is not its distribution's
    plugin_import_failed    importing it raised
    plugin_malformed        its name, its entry point, a hook or its settings is not as it must be
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from importlib import import_module
from importlib.abc import InspectLoader
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs
import pluggy
from attrs import frozen

from ordergate import __version__
from ordergate.calls import Failed, attempt
from ordergate.errors import PluginError
from ordergate.hookspecs import BROKER, OBSERVER, RULE, Kind, hookimpl
from ordergate.pins import (
    Pin,
    check_origin,
    installed,
    metadata_name,
    metadata_path,
    metadata_version,
    verify,
)

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = ["Admitted", "Hook", "Provider", "admit", "discover", "find_provider"]

_KINDS: Final = (RULE, BROKER, OBSERVER)
_MARK: Final = f"{hookimpl.project_name}_impl"
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


@frozen(kw_only=True)
class Provider:
    """A plugin as its distribution's metadata describes it. Nothing of it has been imported.

    `module` is what the entry point says, as it stands. `location` is the metadata folder of the
    distribution.
    """

    kind: Kind
    name: str
    module: str
    distribution: str
    version: str
    location: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} at {self.location}"


@frozen
class Hook:
    """One admitted function, and the arguments it takes."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def __call__(self, **values: Any) -> Any:
        """Call it with those of the values that it takes."""
        return self.call(values)

    def call(self, values: Mapping[str, Any]) -> Any:
        """Like `hook(**values)`. Guards nothing: run it through `ordergate.calls`."""
        return self.function(**{argument: values[argument] for argument in self.arguments})


@frozen(kw_only=True)
class Admitted:
    """A plugin that may be called: its hooks by name, and the class its settings are bound to, if any."""

    kind: Kind
    name: str
    distribution: str
    version: str
    hooks: Mapping[str, Hook]
    settings_class: type | None
    pinned: bool


# -------------------------------------------------------------------------------------------------- discovery


def discover(kinds: Iterable[Kind] = _KINDS) -> tuple[Provider, ...]:
    """All plugins that installed distributions offer, by metadata alone, sorted by kind and name.

    Two distributions of one name in two places are both listed: Python would silently use the first, and
    which one that is depends on the order of the path.
    """
    groups = {kind.group: kind for kind in kinds}
    found = [
        Provider(
            kind=groups[entry.group],
            name=entry.name,
            module=entry.value,
            distribution=metadata_name(distribution),
            version=metadata_version(distribution),
            location=metadata_path(distribution),
        )
        for distribution in installed()
        for entry in _entry_points(distribution)
        if entry.group in groups
    ]
    return tuple(sorted(found, key=lambda each: (each.kind.name, each.name, str(each), each.module)))


def _entry_points(distribution: Distribution) -> Iterable[EntryPoint]:
    try:
        return distribution.entry_points
    except (TypeError, ValueError):
        # Its entry_points.txt cannot be parsed or decoded. Nothing can be admitted from there, and the
        # plugins of others must not suffer for it.
        return ()


# -------------------------------------------------------------------------------------------------- admission


def admit(kind: Kind, name: str, *, providers: Sequence[Provider] | None = None, pin: Pin | None = None) -> Admitted:
    """Take in one active plugin; raise PluginError with one of the codes above when that cannot be.

    `providers` is what `discover` found, if that is at hand. With a pin, nothing is imported before it holds.
    """
    provider = find_provider(kind, name, providers)
    if pin is not None:
        verify(pin, provider)
    else:
        check_origin(provider)
    module = _import(provider, pinned=pin is not None)
    hooks = _hooks(provider, _marked_functions(provider, module))
    return Admitted(
        kind=kind,
        name=name,
        distribution=provider.distribution,
        version=provider.version,
        hooks=MappingProxyType(hooks),
        settings_class=_settings_class(provider, hooks.get(kind.settings_hook)),
        pinned=pin is not None,
    )


def find_provider(kind: Kind, name: str, providers: Sequence[Provider] | None = None) -> Provider:
    """The one distribution that provides the plugin, under a name that can be used; else PluginError.

    Imports nothing.
    """
    if providers is None:
        providers = discover((kind,))
    same_kind = [each for each in providers if each.kind is kind]
    found = [each for each in same_kind if each.name == name]
    if not found:
        nearest = get_close_matches(name, sorted({each.name for each in same_kind}), n=3)
        raise PluginError(
            name,
            "plugin_missing",
            f"no installed distribution provides it in the group {kind.group}"
            + (f"; the nearest installed: {', '.join(nearest)}" if nearest else ""),
            "Correct the name; or install (pip install) the distribution whose own documentation names this "
            "plugin into the environment that runs ordergate, and do not guess what it is called.",
        )
    if len(found) > 1:
        raise PluginError(
            name,
            "plugin_provided_twice",
            f"more than one distribution provides it: {' and '.join(sorted(map(str, found)))}",
            "Uninstall all but one; an .egg-info folder left beside an editable install can be deleted.",
        )
    _check_names(found[0])
    return found[0]


def _check_names(provider: Provider) -> None:
    if not _NAME.fullmatch(provider.name) or provider.name.startswith("gate"):
        raise _malformed(
            provider,
            "its name is not usable",
            "A name is small ASCII letters, digits and _, begins with a letter, and never with gate.",
        )
    if provider.kind is BROKER and provider.name == "broker":
        raise _malformed(provider, "a broker cannot be called broker", "Every account has a key of that name.")
    if not all(part.isidentifier() for part in provider.module.split(".")):
        raise _malformed(
            provider,
            f"its entry point says {provider.module!r}",
            "It must name a module, and nothing inside one.",
        )


# ----------------------------------------------------------------------------------------------------- import


def _import(provider: Provider, *, pinned: bool) -> ModuleType:
    try:
        with _compiled_afresh() if pinned else nullcontext():
            module = attempt(import_module, provider.module)
            if type(module) is not ModuleType:
                raise _malformed(
                    provider,
                    f"{provider.module} has put an object of class {type(module).__name__} in its own place",
                    "A plugin is a module of plain functions.",
                )
            twice = attempt(_defined_twice, module, provider.kind)
    except Failed as failed:
        raise PluginError(
            provider.name,
            "plugin_import_failed",
            f"importing {provider.module} from {provider} raised {failed}",
            _import_fix(failed.cause),
        ) from failed.cause
    if twice:
        raise _malformed(
            provider, f"{twice} is defined twice; the later one silently replaces the earlier", "Keep one."
        )
    return module


@contextmanager
def _compiled_afresh() -> Iterator[None]:
    """Neither read nor write `__pycache__`: what runs is compiled from the very files that were measured."""
    before = sys.pycache_prefix
    sys.pycache_prefix = os.devnull  # nothing can be found or made below it
    try:
        yield
    finally:
        sys.pycache_prefix = before


def _defined_twice(module: ModuleType, kind: Kind) -> str | None:
    """A hook that the module's source defines more than once; None also where the source cannot be asked."""
    loader = module.__spec__.loader if module.__spec__ else None
    code = loader.get_code(module.__name__) if isinstance(loader, InspectLoader) else None
    defined = [constant.co_name for constant in code.co_consts if isinstance(constant, CodeType)] if code else []
    return next((name for name in sorted(kind.hooks) if defined.count(name) > 1), None)


def _import_fix(cause: BaseException) -> str:
    if isinstance(cause, ModuleNotFoundError) and not str(cause.name).startswith("ordergate."):
        return f"Install what it needs ({cause.name}) into the same environment, or reinstall the plugin."
    if isinstance(cause, ImportError) and str(cause.name).partition(".")[0] == "ordergate":
        return f"It was written for another ordergate than this {__version__}: bring the two together."
    return "Mend or update the plugin, or take it out of the config."


# ------------------------------------------------------------------------------------------------------ hooks


def _marked_functions(provider: Provider, module: ModuleType) -> dict[str, FunctionType]:
    """The functions that carry `@hookimpl`, all of them usable; whatever else carries it is refused.

    Looks at what the module holds, never through its `__getattr__` or `__dir__`, and runs nothing of it.
    """
    hooks = provider.kind.hooks
    functions: dict[str, FunctionType] = {}
    for name, value in dict(vars(module)).items():
        options = _mark(value)
        if options is None:
            _check_unmarked(provider, module, name, value)
        elif type(value) is not FunctionType:
            raise _malformed(
                provider,
                f"{name} is marked with @hookimpl but is of class {type(value).__name__}",
                "Only a plain function, written with def in a module, can be a hook.",
            )
        elif name not in hooks:
            raise _malformed(provider, f"{name} is no hook for {provider.kind.name}s", _advice(name, provider.kind))
        else:
            _check_options(provider, name, options)
            _check_form(provider, name, value)
            functions[name] = value
    missing = sorted(provider.kind.required - functions.keys())
    if missing:
        raise _malformed(
            provider,
            f"it lacks {', '.join(missing)}",
            f"Every {provider.kind.name} implements them, marked with @hookimpl.",
        )
    working = hooks - {provider.kind.settings_hook}
    if not functions.keys() & working:
        raise _malformed(
            provider,
            "it implements no hook that does anything",
            f"Mark at least one of {', '.join(sorted(working))} with @hookimpl.",
        )
    return functions


def _mark(value: object) -> object | None:
    """What `@hookimpl` left on the value, asked without running code of the value's own."""
    options: object | None = inspect.getattr_static(value, _MARK, None)
    if options is None and type(value) in (MethodType, staticmethod, classmethod):
        options = inspect.getattr_static(value.__func__, _MARK, None)  # type: ignore[attr-defined]
    return options


def _check_unmarked(provider: Provider, module: ModuleType, name: str, value: object) -> None:
    if name in provider.kind.hooks:
        raise _malformed(
            provider,
            f"{name} has a hook's name but not the mark, and would never be called",
            "Put @hookimpl above it, or rename it.",
        )
    members = dict(vars(value)) if issubclass(type(value), type) else {}
    if members.get("__module__") != module.__name__:
        return
    for member, inner in members.items():
        if _mark(inner) is not None:
            raise _malformed(
                provider,
                f"{name}.{member} is marked with @hookimpl inside a class, and would never be called",
                "Hooks are plain functions of the module; there is nothing to subclass.",
            )


def _check_options(provider: Provider, name: str, options: object) -> None:
    used = [str(option) for option, value in options.items() if value] if isinstance(options, dict) else [_MARK]
    if used:
        raise _malformed(
            provider,
            f"{name} is marked with {', '.join(sorted(used))}",
            "Write @hookimpl alone: no plugin wraps another, goes first or last, or takes another name.",
        )


def _check_form(provider: Provider, name: str, function: FunctionType) -> None:
    """The function's own code is asked: a signature can be made to say anything."""
    code = function.__code__
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _malformed(provider, f"{name} is async", "Write it with a plain def.")
    if inspect.isgeneratorfunction(function):
        raise _malformed(provider, f"{name} is a generator", "Let it return its answer.")
    if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise _malformed(
            provider,
            f"{name} takes * or ** arguments, itself or through a decorator",
            "Name each argument that it needs, and leave decorators off.",
        )
    if code.co_posonlyargcount or code.co_kwonlyargcount:
        raise _malformed(provider, f"{name} has / or * among its parameters", "Name its arguments, and nothing else.")
    if function.__defaults__ or function.__kwdefaults__:
        raise _malformed(
            provider,
            f"{name} has parameters with defaults",
            "The gate passes every argument; leave them off.",
        )


def _hooks(provider: Provider, functions: Mapping[str, FunctionType]) -> dict[str, Hook]:
    """Let pluggy check them, in a registration of their own."""
    manager = pluggy.PluginManager(hookimpl.project_name)
    manager.add_hookspecs(provider.kind.specs)
    for name, function in functions.items():
        _check_arguments(provider, name, _arguments(function), getattr(manager.hook, name).spec.argnames)
    # Not the module itself, which could answer pluggy otherwise than it answered us.
    stand_in = ModuleType(provider.module)
    vars(stand_in).update(functions)
    try:
        manager.register(stand_in, provider.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _malformed(provider, " ".join(str(error).split()), "See the documentation of its hooks.") from error
    hooks = {}
    for name in sorted(functions):
        (implementation,) = getattr(manager.hook, name).get_hookimpls()
        hooks[name] = Hook(name, implementation.function, _arguments(functions[name]))
    return hooks


def _arguments(function: FunctionType) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _check_arguments(provider: Provider, name: str, arguments: Iterable[str], known: Sequence[str]) -> None:
    for argument in arguments:
        if argument not in known:
            nearest = get_close_matches(argument, known, n=1)
            raise _malformed(
                provider,
                f"{name} takes {argument!r}, which this ordergate ({__version__}) does not give: "
                "it needs a newer ordergate or is misspelt",
                (f"Did you mean {nearest[0]}? " if nearest else "")
                + (f"It can take {', '.join(known)}." if known else "It takes no arguments."),
            )


def _settings_class(provider: Provider, hook: Hook | None) -> type | None:
    if hook is None:
        return None
    try:
        answer = attempt(hook)
        usable = isinstance(answer, type) and attempt(attrs.has, answer)
    except Failed as failed:
        raise _malformed(
            provider, f"{hook.name} raised {failed}", "It must return an attrs class and do nothing else."
        ) from failed.cause
    if not usable:
        got = (
            f"the class {answer.__name__}"
            if isinstance(answer, type)
            else f"an object of class {type(answer).__name__}"
        )
        raise _malformed(
            provider,
            f"{hook.name} returned {got}",
            "It must return a class made with attrs (@frozen), the class itself and not an instance.",
        )
    settings_class: type = answer
    return settings_class


def _advice(name: str, kind: Kind) -> str:
    elsewhere = [other.name for other in _KINDS if other is not kind and name in other.hooks]
    if elsewhere:
        return f"It is a hook for {elsewhere[0]}s: give that a module and an entry point of its own."
    nearest = get_close_matches(name, sorted(kind.hooks), n=1)
    return (f"Did you mean {nearest[0]}? " if nearest else "") + f"There are {', '.join(sorted(kind.hooks))}."


def _malformed(provider: Provider, what: str, fix: str) -> PluginError:
    return PluginError(provider.name, "plugin_malformed", f"{what} ({provider})", fix)
