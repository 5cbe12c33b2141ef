"""From a config to what runs: admitted rules, brokers by account and observers, and all that is wrong with them.

Nothing here raises for a bad plugin or a bad setting: each becomes a `Problem`. A plugin that cannot be admitted closes
the gate for buys. An account whose own section or broker is broken cannot trade at all; the others still can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ordergate.binding import Bound, bind
from ordergate.broker import Broker
from ordergate.clock import Clock
from ordergate.config import AccountConfig, Config, Owned
from ordergate.errors import PluginError, Problem
from ordergate.hookspecs import BROKER, OBSERVER, RULE, Kind
from ordergate.observers import Observers
from ordergate.panel import ActiveRule, Panel
from ordergate.plugins import Admitted, Provider, admit, discover
from ordergate.records import to_plain

__all__ = ["Setup", "set_up"]


@frozen(kw_only=True)
class Setup:
    """What the executor works with. `refusals` are (code, sentence) of plugins that could not be admitted."""

    config: Config
    panel: Panel
    brokers: Mapping[str, Broker]
    broken: Mapping[str, tuple[Problem, ...]]
    observers: Observers
    problems: tuple[Problem, ...]
    """Everything wrong with the config, settings of plugins included."""
    refusals: tuple[tuple[str, str], ...]
    origins: Mapping[str, str]
    """Where each setting of a plugin comes from: `rules.dust.exit_buffer` → `file` or `default`."""
    admitted: tuple[Admitted, ...]

    def recorded(self, account: str) -> dict[str, Any]:
        """What besides the facts a decision of the account depends on, for the journal."""
        gate = self.config.gate
        return {
            "gate": {
                "cash": to_plain(gate.cash),
                "at_par": to_plain(gate.at_par),
                "dust": to_plain(gate.dust),
                "max_positions": gate.max_positions,
                "facts_age": gate.facts_age,
                "clock_skew": gate.clock_skew,
            },
            "tiers": to_plain(self.config.tiers),
            "profile": to_plain(self.brokers[account].profile),
            "rules": [
                {
                    "name": rule.name,
                    "distribution": rule.distribution,
                    "version": rule.version,
                    "settings": None if rule.settings is None else to_plain(rule.settings),
                    "owner": rule.owner,
                    "reason": rule.reason,
                }
                for rule in self.panel.rules
            ],
            "config": self.config.digest,
        }


def set_up(config: Config, clock: Clock) -> Setup:
    """Admit and bind everything that the config names."""
    return _Builder(config, clock).build()


class _Builder:
    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._providers: tuple[Provider, ...] = discover()
        self._problems: list[Problem] = list(config.problems)
        self._refusals: list[tuple[str, str]] = []
        self._origins: dict[str, str] = {}
        self._admitted: list[Admitted] = []

    def build(self) -> Setup:
        config = self._config
        rules: list[ActiveRule] = []
        for plugin, settings in self._active(RULE, config.gate.rules, config.rules):
            owned = config.owned.get(plugin.name, Owned())
            rules.append(ActiveRule.of(plugin, settings, owned.owner, owned.reason))
        observers = self._active(OBSERVER, config.gate.observers, config.observers)
        brokers: dict[str, Broker] = {}
        broken: dict[str, tuple[Problem, ...]] = {}
        for account in config.accounts.values():
            found = self._broker(account)
            if isinstance(found, Broker):
                brokers[account.name] = found
            else:
                broken[account.name] = found
        return Setup(
            config=config,
            panel=Panel(rules, config.gate.rule_budget, self._clock),
            brokers=brokers,
            broken=broken,
            observers=Observers(observers),
            problems=tuple(dict.fromkeys(self._problems)),
            refusals=tuple(self._refusals),
            origins=self._origins,
            admitted=tuple(self._admitted),
        )

    def _active(
        self, kind: Kind, names: tuple[str, ...], tables: Mapping[str, Mapping[str, object]]
    ) -> list[tuple[Admitted, Any]]:
        found = []
        for name in names:
            plugin = self._admit(kind, name)
            if plugin is None:
                continue
            settings, problems = self._bind(plugin, tables.get(name, {}), f"{kind.name}s.{name}")
            self._problems += problems
            if not problems:
                found.append((plugin, settings))
        return found

    def _broker(self, account: AccountConfig) -> Broker | tuple[Problem, ...]:
        if account.problems or account.broker is None:
            return account.problems
        plugin = self._admit(BROKER, account.broker)
        if plugin is None:
            code, sentence = self._refusals[-1]
            return (Problem(f"accounts.{account.name}.broker", sentence, f"({code})"),)
        where = f"accounts.{account.name}.{account.broker}"
        settings, problems = self._bind(plugin, account.table, where, account.name)
        if problems:
            self._problems += problems
            return tuple(problems)
        broker = Broker.ready(account.name, plugin, settings, account.fee_threshold, self._config.gate, self._clock)
        if isinstance(broker, Broker):
            return broker
        self._problems.append(broker)
        return (broker,)

    def _admit(self, kind: Kind, name: str) -> Admitted | None:
        known = next((plugin for plugin in self._admitted if (plugin.kind, plugin.name) == (kind, name)), None)
        if known is not None:
            return known
        pin = self._config.pins.get(f"{kind.name}s.{name}")
        try:
            plugin = admit(kind, name, providers=self._providers, pin=pin)
        except PluginError as error:
            self._refusals.append((error.code, f"{str(error).rstrip('.')}."))
            return None
        self._admitted.append(plugin)
        return plugin

    def _bind(
        self, plugin: Admitted, table: Mapping[str, object], where: str, account: str | None = None
    ) -> tuple[Any, list[Problem]]:
        if plugin.settings_class is None:
            if table:
                return None, [Problem(where, "the plugin has no settings", "take the table out")]
            return None, []
        bound: Bound[Any] = bind(plugin.settings_class, table, where, self._config.folder, account=account)
        self._origins.update(bound.origins)
        return bound.value, list(bound.problems)
