"""What admission takes in, and each trick it refuses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from ordergate import Verdict
from ordergate.errors import PluginError
from ordergate.hookspecs import BROKER, OBSERVER, RULE, Kind
from ordergate.plugins import Admitted, admit

Install = Callable[..., Path]

HEAD = """
import functools
from attrs import field, frozen
from ordergate import Verdict, hookimpl
import pluggy

"""
RULE_HOOK = """
@hookimpl
def validate_order(order, tier):
    return Verdict.approve(observed=order, limit=tier)
"""


def admit_source(install: Install, source: str, *, kind: Kind = RULE, name: str = "fake") -> Admitted:
    install(entries={name: "fake_plugin"}, modules={"fake_plugin.py": HEAD + source}, group=kind.group)
    return admit(kind, name)


def refusal(install: Install, source: str, *, kind: Kind = RULE, name: str = "fake") -> PluginError:
    with pytest.raises(PluginError) as caught:
        admit_source(install, source, kind=kind, name=name)
    assert caught.value.name == name
    assert caught.value.what
    assert caught.value.fix.endswith((".", "?"))
    return caught.value


def malformed(install: Install, source: str, *, kind: Kind = RULE, name: str = "fake") -> str:
    error = refusal(install, source, kind=kind, name=name)
    assert error.code == "plugin_malformed"
    assert "ordergate-fake 1.0" in error.what, "the distribution is named"
    return str(error)


# ------------------------------------------------------------------------------------------- what is admitted


def test_a_rule_takes_only_the_arguments_it_names(install: Install) -> None:
    admitted = admit_source(install, RULE_HOOK)
    hook = admitted.hooks["validate_order"]
    assert hook.arguments == ("order", "tier")
    values = {"order": Decimal(1), "tier": Decimal(2), "account": "never asked for"}
    assert hook.call(values) == hook(**values) == Verdict.approve(observed=Decimal(1), limit=Decimal(2))


def test_what_is_said_of_an_admitted_plugin(install: Install) -> None:
    admitted = admit_source(install, RULE_HOOK)
    assert (admitted.kind, admitted.name, admitted.distribution, admitted.version) == (
        RULE,
        "fake",
        "ordergate-fake",
        "1.0",
    )
    assert admitted.settings_class is None
    assert not admitted.pinned


def test_settings_are_an_attrs_class(install: Install) -> None:
    source = """
@frozen
class Settings:
    share: int = field(default=3)

@hookimpl
def rule_settings():
    return Settings
"""
    settings_class = admit_source(install, RULE_HOOK + source).settings_class
    assert settings_class is not None
    assert settings_class().share == 3


def test_an_observer_needs_no_hook_in_particular(install: Install) -> None:
    admitted = admit_source(install, "@hookimpl\ndef on_state(change):\n    pass\n", kind=OBSERVER)
    assert list(admitted.hooks) == ["on_state"]


def test_a_hook_may_come_from_another_module_of_the_plugin(install: Install) -> None:
    install(
        entries={"fake": "fake_package.rule"},
        modules={
            "fake_package/__init__.py": "",
            "fake_package/inner.py": HEAD + RULE_HOOK,
            "fake_package/rule.py": "from fake_package.inner import validate_order",
        },
    )
    assert list(admit(RULE, "fake").hooks) == ["validate_order"]


def test_hooks_cannot_be_changed_after_admission(install: Install) -> None:
    admitted = admit_source(install, RULE_HOOK)
    module = sys.modules["fake_plugin"]
    module.validate_order = lambda order: "anything"  # type: ignore[attr-defined]
    assert isinstance(admitted.hooks["validate_order"](order=Decimal(1), tier=Decimal(1)), Verdict)
    with pytest.raises(TypeError):
        admitted.hooks["validate_order"] = None  # type: ignore[index]


@pytest.mark.parametrize("name", ["position_cap", "min_allocation", "min_position", "dust", "average_position"])
def test_our_own_rules_are_admitted(name: str) -> None:
    admitted = admit(RULE, name)
    assert admitted.distribution == "ordergate"
    assert admitted.settings_class is not None


# ------------------------------------------------------------------------------- B06: missing, or not importable


def test_b06_missing_rule_not_installed(install: Install) -> None:
    install(entries={"concentration": "fake_plugin"})
    with pytest.raises(PluginError) as caught:
        admit(RULE, "concentraton")
    assert caught.value.code == "plugin_missing"
    assert "concentration" in caught.value.what, "the nearest installed name"
    assert "pip install" in caught.value.fix
    assert "concentraton" not in caught.value.fix, "a name to install that somebody else may have registered"


def test_b06_missing_rule_provided_as_another_kind(install: Install) -> None:
    install(entries={"fake": "fake_plugin"}, group="ordergate.observers")
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_missing"


@pytest.mark.parametrize(
    ("line", "shown", "advice"),
    [
        ("import fake_dependency", "ModuleNotFoundError: No module named 'fake_dependency'", "(fake_dependency)"),
        ("from ordergate import SomethingNewer", "ImportError: cannot import name", "another ordergate"),
        ("import ordergate.something_newer", "ModuleNotFoundError", "another ordergate"),
        ("1 / 0", "ZeroDivisionError: division by zero", "Mend or update"),
        ("raise SystemExit(3)", "SystemExit: 3", "Mend or update"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "Mend or update"),
        ("def", "SyntaxError", "Mend or update"),
        ("class Odd(BaseException): pass\nraise Odd('x' * 10_000)", "Odd: xxx", "Mend or update"),
    ],
)
def test_b06_missing_rule_import_fails(install: Install, line: str, shown: str, advice: str) -> None:
    error = refusal(install, f"{line}\n{RULE_HOOK}")
    assert error.code == "plugin_import_failed"
    assert shown in error.what
    assert "ordergate-fake 1.0" in error.what
    assert advice in error.fix
    assert len(error.what) < 700


def test_b06_missing_rule_module_is_not_there(install: Install) -> None:
    install(entries={"fake": "fake_absent"})
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_import_failed"


def test_s04_import_error_opens_nothing_and_says_so_each_time(install: Install) -> None:
    install(entries={"fake": "fake_plugin"}, modules={"fake_plugin.py": HEAD + RULE_HOOK + "raise ValueError('late')"})
    for _ in range(2):
        with pytest.raises(PluginError, match="ValueError: late"):
            admit(RULE, "fake")


# -------------------------------------------------------------------------------------------- names, entry points


@pytest.mark.parametrize(
    "name", ["Fake", "1fake", "_fake", "fa-ke", "fake.rule", "gate", "gate_state", "gateway", "fäke"]
)
def test_names_that_are_not_usable(install: Install, name: str) -> None:
    assert "its name is not usable" in malformed(install, RULE_HOOK, name=name)
    assert "fake_plugin" not in sys.modules


def test_a_broker_called_like_the_key_that_names_it(install: Install) -> None:
    assert "a broker cannot be called broker" in malformed(install, "", kind=BROKER, name="broker")


@pytest.mark.parametrize(
    "value", ["fake_plugin:Rule", "fake_plugin:Rule.check", "fake_plugin [extra]", "fake-plugin", "."]
)
def test_an_entry_point_names_a_module_and_nothing_else(install: Install, value: str) -> None:
    install(entries={"fake": value}, modules={"fake_plugin.py": HEAD + RULE_HOOK})
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_malformed"
    assert "fake_plugin" not in sys.modules


# ---------------------------------------------------------------------------------------------- B10: hook abuse


@pytest.mark.parametrize(
    "options", ["wrapper=True", "hookwrapper=True", "tryfirst=True", "trylast=True", "optionalhook=True"]
)
def test_b10_hook_abuse_options(install: Install, options: str) -> None:
    body = "    return (yield)\n" if "wrapper" in options else "    return Verdict.approve()\n"
    text = malformed(install, f"@hookimpl({options})\ndef validate_order(order):\n{body}")
    assert options.partition("=")[0] in text


def test_b10_hook_abuse_takes_a_hooks_place_under_another_name(install: Install) -> None:
    source = '@hookimpl(specname="validate_order")\ndef rule_settings(order):\n    return Verdict.approve()\n'
    assert "specname" in malformed(install, RULE_HOOK + source)


def test_b10_hook_abuse_forged_mark(install: Install) -> None:
    source = "def validate_order(order):\n    return Verdict.approve()\nvalidate_order.ordergate_impl = True\n"
    assert "is marked with" in malformed(install, source)


def test_b10_hook_abuse_misspelt_hook(install: Install) -> None:
    text = malformed(install, "@hookimpl\ndef validate_ordre(order):\n    return Verdict.approve()\n")
    assert "Did you mean validate_order?" in text


def test_b10_hook_abuse_misspelt_optional_hook(install: Install) -> None:
    text = malformed(install, RULE_HOOK + "@hookimpl\ndef rule_setings():\n    return int\n")
    assert "Did you mean rule_settings?" in text


def test_b10_hook_abuse_hook_of_another_kind(install: Install) -> None:
    text = malformed(install, RULE_HOOK + "@hookimpl\ndef on_decision(decision):\n    pass\n")
    assert "It is a hook for observers" in text


def test_b10_hook_abuse_unmarked_hook(install: Install) -> None:
    assert "not the mark" in malformed(install, "def validate_order(order):\n    return Verdict.approve()\n")


def test_b10_hook_abuse_unmarked_optional_hook(install: Install) -> None:
    assert "rule_settings has a hook's name" in malformed(install, RULE_HOOK + "def rule_settings():\n    return int\n")


def test_b10_hook_abuse_mark_of_another_project(install: Install) -> None:
    source = (
        'other = pluggy.HookimplMarker("pytest")\n@other\ndef validate_order(order):\n    return Verdict.approve()\n'
    )
    assert "not the mark" in malformed(install, source)


def test_b10_hook_abuse_firstresult_has_no_place(install: Install) -> None:
    source = (
        'spec = pluggy.HookspecMarker("ordergate")\n@spec(firstresult=True)\ndef validate_order(order):\n    pass\n'
    )
    assert "not the mark" in malformed(install, source)


def test_b10_hook_abuse_two_implementations(install: Install) -> None:
    assert "validate_order is defined twice" in malformed(install, RULE_HOOK + RULE_HOOK.replace("tier", "account"))


def test_b10_hook_abuse_an_alias_is_a_second_implementation(install: Install) -> None:
    assert "also is no hook" in malformed(install, RULE_HOOK + "also = validate_order\n")


def test_b10_hook_abuse_no_hooks(install: Install) -> None:
    assert "it lacks validate_order" in malformed(install, "")


def test_b10_hook_abuse_observer_without_hooks(install: Install) -> None:
    assert "no hook that does anything" in malformed(install, "", kind=OBSERVER)


def test_b10_hook_abuse_observer_with_settings_alone(install: Install) -> None:
    source = "@frozen\nclass Settings:\n    pass\n@hookimpl\ndef observer_settings():\n    return Settings\n"
    assert "no hook that does anything" in malformed(install, source, kind=OBSERVER)


def test_b10_hook_abuse_broker_lacks_what_is_required(install: Install) -> None:
    text = malformed(install, "@hookimpl\ndef connect(settings):\n    return settings\n", kind=BROKER)
    assert all(hook in text for hook in BROKER.required - {"connect"})


# ------------------------------------------------------------------------------------------ forms of functions


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        ("async def validate_order(order):\n    return Verdict.approve()", "is async"),
        ("async def validate_order(order):\n    yield Verdict.approve()", "is async"),
        ("def validate_order(order):\n    yield Verdict.approve()", "is a generator"),
        ("def validate_order(order, tier=None):\n    return Verdict.approve()", "defaults"),
        ("def validate_order(*order):\n    return Verdict.approve()", "* or **"),
        ("def validate_order(order, **rest):\n    return Verdict.approve()", "* or **"),
        ("def validate_order(order, /):\n    return Verdict.approve()", "/ or *"),
        ("def validate_order(*, order):\n    return Verdict.approve()", "/ or *"),
        ("def validate_order(order, *, tier=None):\n    return Verdict.approve()", "/ or *"),
        ("def validate_order(self, order):\n    return Verdict.approve()", "takes 'self'"),
        ("def validate_order(acount):\n    return Verdict.approve()", "Did you mean account?"),
        ("def validate_order(order, volatility):\n    return Verdict.approve()", "newer ordergate or is misspelt"),
    ],
)
def test_b10_hook_abuse_forms_of_functions(install: Install, function: str, shown: str) -> None:
    assert shown in malformed(install, f"@hookimpl\n{function}\n")


@pytest.mark.parametrize(
    "source",
    [
        "class Rule:\n    def __call__(self, order):\n        pass\nvalidate_order = hookimpl(Rule())",
        "@hookimpl\nclass validate_order:\n    pass",
        "def f(order, tier):\n    return Verdict.approve()\nvalidate_order = hookimpl(functools.partial(f, tier=1))",
        "@hookimpl\n@staticmethod\ndef validate_order(order):\n    return Verdict.approve()",
        "@staticmethod\n@hookimpl\ndef validate_order(order):\n    return Verdict.approve()",
        "@classmethod\n@hookimpl\ndef validate_order(order):\n    return Verdict.approve()",
        "@functools.cache\n@hookimpl\ndef validate_order(order):\n    return Verdict.approve()",
        "class Rule:\n    @hookimpl\n    def check(self, order):\n        pass\nvalidate_order = Rule().check",
        "validate_order = len",
        "validate_order = None",
        "from unittest.mock import MagicMock\nvalidate_order = MagicMock()",
    ],
)
def test_b10_hook_abuse_not_plain_functions(install: Install, source: str) -> None:
    malformed(install, source + "\n")


def test_b10_hook_abuse_bound_method_under_another_name(install: Install) -> None:
    source = """
class Rule:
    @hookimpl
    def check(self):
        pass
shadow = Rule().check
del Rule
"""
    assert "shadow is marked with @hookimpl but is of class method" in malformed(install, RULE_HOOK + source)


def test_b10_hook_abuse_hooks_inside_a_class(install: Install) -> None:
    source = "class Rule:\n    @hookimpl\n    def rule_settings(self):\n        return int\n"
    assert "Rule.rule_settings is marked with @hookimpl inside a class" in malformed(install, RULE_HOOK + source)


def test_b10_hook_abuse_decorated(install: Install) -> None:
    source = """
def shout(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)
    return call

@shout
@hookimpl
def validate_order(order):
    return Verdict.approve()
"""
    assert "through a decorator" in malformed(install, source)


def test_b10_hook_abuse_lying_signature(install: Install) -> None:
    """What the code takes counts, whatever a signature says."""
    source = """
import inspect
validate_order.__signature__ = inspect.Signature()
"""
    assert admit_source(install, RULE_HOOK + source).hooks["validate_order"].arguments == ("order", "tier")


def test_objects_of_other_libraries_are_left_alone(install: Install) -> None:
    source = """
from unittest.mock import MagicMock, call
anything = MagicMock()
class Explodes:
    def __getattr__(self, name):
        raise SystemExit
    @property
    def __class__(self):
        raise SystemExit
explodes = Explodes()
"""
    assert list(admit_source(install, RULE_HOOK + source).hooks) == ["validate_order"]


# -------------------------------------------------------------------------------------------- tricks of modules


def test_module_getattr_and_dir_do_not_matter(install: Install) -> None:
    source = """
def _hidden(order):
    return Verdict.approve()

def __getattr__(name):
    return _hidden

def __dir__():
    return ["validate_order", "rule_settings"]
"""
    assert "it lacks validate_order" in malformed(install, source)


def test_module_dir_cannot_hide_a_hook(install: Install) -> None:
    source = "@hookimpl\ndef validate_ordre(order):\n    pass\ndef __dir__():\n    return ['validate_order']\n"
    assert "validate_ordre is no hook" in malformed(install, RULE_HOOK + source)


def test_module_that_replaces_itself(install: Install) -> None:
    source = "import sys\nclass Rule:\n    pass\nsys.modules[__name__] = Rule()\n"
    assert "has put an object of class Rule in its own place" in malformed(install, RULE_HOOK + source)


def test_module_of_another_class(install: Install) -> None:
    source = """
import sys, types
class Odd(types.ModuleType):
    @property
    def __dict__(self):
        return {}
sys.modules[__name__].__class__ = Odd
"""
    assert "has put an object of class Odd in its own place" in malformed(install, RULE_HOOK + source)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("int", "the class int"),
        ("Settings()", "class Settings"),
        ("None", "class NoneType"),
        ("{}", "class dict"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("exit(1)", "raised SystemExit"),
    ],
)
def test_settings_that_are_no_attrs_class(install: Install, answer: str, shown: str) -> None:
    source = f"@frozen\nclass Settings:\n    pass\n@hookimpl\ndef rule_settings():\n    return {answer}\n"
    assert shown in malformed(install, RULE_HOOK + source)


def test_settings_hook_takes_no_arguments(install: Install) -> None:
    source = "@frozen\nclass Settings:\n    pass\n@hookimpl\ndef rule_settings(order):\n    return Settings\n"
    assert "rule_settings takes 'order'" in malformed(install, RULE_HOOK + source)


def test_providers_can_be_handed_in(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    from ordergate import plugins

    install(entries={"fake": "fake_plugin"}, modules={"fake_plugin.py": HEAD + RULE_HOOK})
    providers = plugins.discover()
    monkeypatch.setattr(plugins, "discover", lambda kinds: pytest.fail("looked again"))
    assert admit(RULE, "fake", providers=providers).name == "fake"


def test_every_code_is_documented() -> None:
    """The codes that the two modules raise are those that the module's first lines list, and the author's guide too."""
    from ordergate import pins, plugins

    sources = [Path(str(module.__file__)).read_text() for module in (plugins, pins)]
    head, body = sources[0].split('"""\n', 2)[0], "".join(sources)
    listed = {line.split()[0] for line in head.splitlines() if line.startswith("    ")}
    raised = {code for code in listed if f'"{code}"' in body}
    assert listed == raised
    guide = Path(__file__).parents[2] / "docs" / "write-a-rule.md"
    assert all(f"`{code}`" in guide.read_text() for code in listed)


def test_admission_leaves_the_module_importable(install: Install) -> None:
    admit_source(install, RULE_HOOK)
    assert importlib.import_module("fake_plugin") is sys.modules["fake_plugin"]
