"""`plugins`: what is installed and what is active, by metadata alone but for what is active; and changing that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import frozen

from ordergate.cli.face import DONE, FAILED, Answer, Face, shared
from ordergate.cli.page import Block, Cell, Line, Page, Pairs, Table, Tone, Toned
from ordergate.errors import InputError

if TYPE_CHECKING:
    from ordergate.binding import Bound
    from ordergate.config import Config
    from ordergate.config_edit import Edit
    from ordergate.executor import Executor
    from ordergate.hookspecs import Kind
    from ordergate.plugins import Admitted, Provider
    from ordergate.testing.brokers import Report

__all__ = ["plugins"]

F = TypeVar("F", bound=Callable[..., Any])


@frozen(kw_only=True)
class Listed:
    """One plugin as it is shown. `state` is `active`, `refused` or `inactive`; `providers` are who offers it."""

    kind: str
    name: str
    state: str
    providers: tuple[str, ...]
    distribution: str
    version: str
    pinned: bool
    hooks: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    """Dotted key, effective value, where it comes from."""
    wrong: tuple[str, ...]


@click.group(invoke_without_command=True)
@shared
@click.pass_context
def plugins(context: click.Context) -> int | None:
    """Installed plugins: kind, active or not, distribution, version, pin; of active ones also hooks and settings.

    What is not active is shown by its metadata alone and never imported. Exit code 1 when an active one is refused.
    """
    if context.invoked_subcommand is not None:
        return None
    face: Face = context.obj
    with face.executor() as executor:
        listed = list(_listed(executor))
    wrong = [problem for one in listed for problem in one.wrong]
    data = {"plugins": [_data(one) for one in listed]}
    return face.show(Answer(data=data, page=lambda: _page(listed), code=FAILED if wrong else DONE))


def _named(command: F) -> F:
    """The arguments of the commands about one plugin."""
    command = click.option(
        "--kind", metavar="KIND", help="rule, broker or observer; needed only where two kinds share the name."
    )(command)
    return click.argument("name")(command)


@plugins.command("check")
@_named
@shared
@click.pass_obj
def check_one(face: Face, name: str, kind: str | None) -> int:
    """Import one installed plugin, active or not, and say whether it could be admitted. Its code runs.

    A broker is also tried against its rehearsal venue, if it has one, and its level is told; no real venue is spoken
    to. Exit code 1 when a check failed.
    """
    from ordergate.config import read_config
    from ordergate.plugins import admit, discover

    config = read_config(face.config_path) if face.config_path.is_file() else None
    providers = discover()
    wanted = _kind(name, kind, [one.kind for one in providers if one.name == name], [one.name for one in providers])
    pin = config.pins.get(f"{wanted.name}s.{name}") if config else None
    admitted = admit(wanted, name, providers=providers, pin=pin)
    fields = _fields(admitted)
    report = _conformance(face, name) if wanted.name == "broker" else None
    data: dict[str, object] = {
        "admitted": True,
        "kind": wanted.name,
        "name": name,
        "distribution": admitted.distribution,
        "version": admitted.version,
        "pinned": admitted.pinned,
        "hooks": {hook.name: list(hook.arguments) for hook in admitted.hooks.values()},
        "settings": [{"name": field, "default": default, "help": told} for field, default, told in fields],
    }
    if report is not None:
        data |= {
            "level": report.level.value,
            "checks": [
                {"name": one.name, "outcome": one.outcome.value, "why": one.why or None, "proves": one.proves}
                for one in report.checks
            ],
        }

    def page() -> Page:
        blocks: list[Block] = [
            Line(f"{wanted.name} {name} was imported and can be admitted.", "good"),
            Pairs(
                (
                    ("from", f"{admitted.distribution} {admitted.version}"),
                    ("pinned", "yes, and the pin holds" if admitted.pinned else "no"),
                    *((f"hook {hook.name}", ", ".join(hook.arguments)) for hook in admitted.hooks.values()),
                )
            ),
        ]
        blocks += [Table(("setting", "default", "what it is"), fields)] if fields else []
        return [*blocks, *(_of_conformance(report) if report else [])]

    return face.show(Answer(data=data, page=page, code=FAILED if report and report.failures else DONE))


def _conformance(face: Face, name: str) -> Report:
    from ordergate.testing.brokers import conformance_of

    with face.progress(f"checking {name}") as at:
        return conformance_of(name, watch=lambda check: at(f"checking {name}: {check}"))


def _of_conformance(report: Report) -> Iterator[Block]:
    from ordergate.testing.brokers import LEVELS, Level, Outcome

    tones: Mapping[Outcome, Tone] = {Outcome.PASSED: "good", Outcome.FAILED: "bad", Outcome.NOT_TRIED: "dim"}
    tone: Tone = {Level.NONE: "bad", Level.NOT_PROVED: "warn"}.get(report.level, "good")  # type: ignore[assignment]
    rows = [(one.name, Toned(one.outcome.value, tones[one.outcome]), one.why) for one in report.checks]
    yield Table(("check", "outcome", "why"), rows)
    yield Line(f"Level {report.level.value}: {LEVELS[report.level]}.", tone)


@plugins.command()
@_named
@shared
@click.pass_obj
def enable(face: Face, name: str, kind: str | None) -> int:
    """Make an installed rule or observer active: add it to the list in the config, keeping comments and layout."""
    from ordergate.config_edit import enable as edit
    from ordergate.plugins import discover

    providers = discover()
    wanted = _kind(name, kind, [one.kind for one in providers if one.name == name], [one.name for one in providers])
    return _edited(face, edit(face.config_path, wanted, name), f"{wanted.name} {name} is active.")


@plugins.command()
@_named
@shared
@click.pass_obj
def disable(face: Face, name: str, kind: str | None) -> int:
    """Take a rule or observer out of the list in the config; its table and pin are commented out with it."""
    from ordergate.config_edit import disable as edit

    wanted = _active_kind(face, name, kind)
    return _edited(face, edit(face.config_path, wanted, name), f"{wanted.name} {name} is not active any more.")


@plugins.command()
@_named
@shared
@click.pass_obj
def pin(face: Face, name: str, kind: str | None) -> int:
    """Write down distribution, version and hash of an active plugin's files; checked before every import."""
    from ordergate.config_edit import write_pin
    from ordergate.pins import measure
    from ordergate.plugins import find_provider

    wanted = _active_kind(face, name, kind)
    measured = measure(find_provider(wanted, name).distribution, plugin=name)
    edit = write_pin(face.config_path, wanted, name, measured)
    return _edited(face, edit, f"{wanted.name} {name} is pinned to {measured.distribution} {measured.version}.")


def _edited(face: Face, edit: Edit, done: str) -> int:
    text = done if edit.changed else edit.warning or "Nothing had to be changed."
    warning = edit.warning if edit.changed else None
    data = {"changed": edit.changed, "message": text, "warning": warning}

    def page() -> Page:
        return [Line(text, "good" if edit.changed else ""), *([Line(warning, "warn")] if warning else [])]

    return face.show(Answer(data=data, page=page))


# ------------------------------------------------------------------------------------------------------- which one


@functools.cache
def _kinds() -> Mapping[str, Kind]:
    from ordergate.hookspecs import BROKER, OBSERVER, RULE

    return {kind.name: kind for kind in (RULE, BROKER, OBSERVER)}


def _kind(name: str, asked: str | None, found: Sequence[Kind], known: Sequence[str]) -> Kind:
    """The kind meant: as asked, or the only one that has the name."""
    if asked is not None:
        if asked not in _kinds():
            raise InputError("kind", asked, f"use {', '.join(_kinds())}")
        return _kinds()[asked]
    kinds = {kind.name: kind for kind in found}
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    if kinds:
        raise InputError("kind", None, f"{name} is {' and '.join(f'a {one}' for one in kinds)}; say which with --kind")
    near = get_close_matches(name, known, 1)
    raise InputError("name", name, f"did you mean {near[0]}?" if near else "`ordergate plugins` shows what there is")


def _active_kind(face: Face, name: str, kind: str | None) -> Kind:
    """The kind of an active plugin, from the config alone: it need not be installed to be taken out."""
    from ordergate.config import read_config

    active = _active(read_config(face.config_path))
    found = [_kinds()[one] for one, named in active if named == name]
    return _kind(name, kind, found, [named for _, named in active])


def _active(config: Config) -> list[tuple[str, str]]:
    """Kind and name of everything the config names."""
    brokers = dict.fromkeys(account.broker for account in config.accounts.values() if account.broker)
    return [
        *(("rule", name) for name in config.gate.rules),
        *(("broker", name) for name in brokers),
        *(("observer", name) for name in config.gate.observers),
    ]


# --------------------------------------------------------------------------------------------------------- the list


def _listed(executor: Executor) -> Iterator[Listed]:
    from ordergate.plugins import discover

    offered: dict[tuple[str, str], list[Provider]] = {}
    for provider in discover():
        offered.setdefault((provider.kind.name, provider.name), []).append(provider)
    admitted = {(one.kind.name, one.name): one for one in executor.setup.admitted}
    active = _active(executor.config)
    for kind, name in [*active, *(key for key in offered if key not in active)]:
        providers = offered.get((kind, name), [])
        plugin = admitted.get((kind, name))
        first = providers[0] if len(providers) == 1 else None
        settings, wrong = _settings(executor, plugin) if plugin else ([], [])
        is_active = (kind, name) in active
        if is_active and plugin is None:
            wrong = [f"{text} ({code})" for code, text in executor.setup.refusals if text.startswith(f"plugin {name}:")]
        yield Listed(
            kind=kind,
            name=name,
            state="inactive" if not is_active else "active" if plugin and not wrong else "refused",
            providers=tuple(map(str, providers)),
            distribution=plugin.distribution if plugin else first.distribution if first else "",
            version=plugin.version if plugin else first.version if first else "",
            pinned=f"{kind}s.{name}" in executor.config.pins,
            hooks=tuple(plugin.hooks) if plugin else (),
            settings=tuple(settings),
            wrong=tuple(wrong),
        )


def _settings(executor: Executor, plugin: Admitted) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Effective values of a plugin's settings with their origin, of a broker per account; and what is wrong."""
    from ordergate.binding import bind

    config = executor.config
    if plugin.settings_class is None:
        return _owned(config, plugin), []
    tables: list[tuple[str, Mapping[str, object], str | None]]
    if plugin.kind.name == "broker":
        accounts = [one for one in config.accounts.values() if one.broker == plugin.name]
        tables = [(f"accounts.{one.name}.{plugin.name}", one.table, one.name) for one in accounts]
    else:
        section = config.rules if plugin.kind.name == "rule" else config.observers
        tables = [(f"{plugin.kind.name}s.{plugin.name}", section.get(plugin.name, {}), None)]
    rows: list[tuple[str, str, str]] = []
    wrong: list[str] = []
    for where, table, account in tables:
        bound: Bound[Any] = bind(plugin.settings_class, table, where, config.folder, account=account)
        wrong += map(str, bound.problems)
        for key, origin in bound.origins.items():
            rows.append((key, _shown(getattr(bound.value, key.removeprefix(f"{where}."), None)), origin))
    return rows + _owned(config, plugin), wrong


def _owned(config: Config, plugin: Admitted) -> list[tuple[str, str, str]]:
    """Who answers for a rule's limits, and why they are what they are, where the config says so."""
    owned = config.owned.get(plugin.name) if plugin.kind.name == "rule" else None
    said = (("owner", owned.owner), ("reason", owned.reason)) if owned else ()
    return [(f"rules.{plugin.name}.{key}", text, "file") for key, text in said if text is not None]


def _fields(plugin: Admitted) -> list[tuple[str, str, str]]:
    """Name, default and help of each setting."""
    import attrs

    from ordergate.schema import plain_default

    if plugin.settings_class is None:
        return []
    return [
        (field.name, _shown(plain_default(field.default)), str(field.metadata.get("help", "")))
        for field in attrs.fields(plugin.settings_class)
    ]


def _shown(value: object) -> str:
    from ordergate.schema import plain_default

    plain = plain_default(value)
    if isinstance(plain, Mapping):
        return ", ".join(f"{key} = {entry}" for key, entry in plain.items()) or "(empty)"
    if isinstance(plain, list):
        return ", ".join(map(str, plain)) or "(empty)"
    return "" if plain is None else str(plain)


def _data(one: Listed) -> dict[str, object]:
    return {
        "name": one.name,
        "kind": one.kind,
        "active": one.state != "inactive",
        "state": one.state,
        "distribution": one.distribution or None,
        "version": one.version or None,
        "providers": list(one.providers),
        "pinned": one.pinned,
        "hooks": list(one.hooks),
        "settings": [{"key": key, "value": value, "origin": origin} for key, value, origin in one.settings],
        "wrong": list(one.wrong),
    }


def _page(listed: Sequence[Listed]) -> Page:
    tones = {"active": "good", "refused": "bad", "inactive": "dim"}
    rows: list[tuple[Cell, ...]] = [
        (
            one.name,
            one.kind,
            Toned(one.state, tones[one.state]),  # type: ignore[arg-type]
            one.distribution or ("several" if one.providers else "not installed"),
            one.version,
            "yes" if one.pinned else "no",
        )
        for one in listed
    ]
    blocks: list[Block] = [Table(("plugin", "kind", "state", "distribution", "version", "pinned"), rows)]
    hooks = [(one.name, ", ".join(one.hooks)) for one in listed if one.hooks]
    if hooks:
        blocks.append(Table(("plugin", "hooks"), hooks, title="Hooks of active plugins"))
    settings = [row for one in listed for row in one.settings]
    if settings:
        blocks.append(Table(("setting", "value", "from"), settings, title="Settings of active plugins"))
    blocks += [Line(problem, "bad") for one in listed for problem in one.wrong]
    for one in listed:
        if one.state == "inactive" and len(one.providers) > 1:
            blocks.append(Line(f"{one.name} is offered twice: {' and '.join(one.providers)}", "warn"))
    return blocks
