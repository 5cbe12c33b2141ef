"""Look up every pinned release in an advisory service, and tell "nothing found" from "nothing looked at".

pip-audit ends with "No known vulnerabilities found" also when it skipped every release, as it does where
packages come through a mirror that serves no advisories. So each service first has to name what is wrong
with a release that is known to be vulnerable; a service that cannot is not asked further. When none can,
this says that the audit was NOT DONE and ends with 0: being offline is no fault of the dependencies. A
vulnerable release, a skipped one, and an audit of nothing end with 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

SERVICES = ("pypi", "osv")
KNOWN_VULNERABLE = "requests==2.19.0"  # CVE-2018-18074, published 2018-10-09
SECONDS = 90  # for one question to one service; 60 releases take about 10

# What pip-audit says when a service cannot be reached or gives no usable answer. Other failures are its own.
_NO_ANSWER = re.compile(
    r"requests\.exceptions\.\w+"
    r"|pip_audit\._service\.interface\.\w*Error"
    r"|Try another service with `-s SERVICE`"
)


class NoAnswer(Exception):
    """The service did not answer; the text is pip-audit's own."""


def main() -> int:
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    lines = settings["constraint-dependencies"] + settings["build-constraint-dependencies"]
    pins = sorted({line.partition(";")[0].strip() for line in lines})
    if not pins:
        print("dependency audit: FAILED, pyproject.toml pins no release, so nothing was audited")
        return 1
    for service in SERVICES:
        try:
            if any(ask(service, [KNOWN_VULNERABLE]).values()):
                return judge(service, pins, ask(service, pins))
            print(f"dependency audit: {service}: it knows nothing of {KNOWN_VULNERABLE}, which is vulnerable")
        except NoAnswer as reason:
            print(f"dependency audit: {service}: {reason}")
    print("dependency audit: NOT DONE, no advisory service answered")
    return 0


def judge(service: str, pins: Sequence[str], found: dict[str, list[str]]) -> int:
    """Say what the service found; 1 when a release is vulnerable or was not looked up."""
    skipped = [pin for pin in pins if pin.partition("==")[0] not in found]
    vulnerable = {name: advisories for name, advisories in found.items() if advisories}
    for name, advisories in vulnerable.items():
        print(f"dependency audit: {name} is vulnerable: {', '.join(advisories)}")
    if skipped:
        print(f"dependency audit: {service} did not look up {', '.join(skipped)}")
    if vulnerable or skipped:
        counts = f"{len(vulnerable)} vulnerable, {len(skipped)} of {len(pins)} not audited"
        print(f"dependency audit: FAILED, {counts}")
        return 1
    print(f"dependency audit: {len(pins)} releases, no known vulnerability ({service})")
    return 0


def ask(service: str, pins: Sequence[str]) -> dict[str, list[str]]:
    """The advisories of each release that the service looked up. Raises `NoAnswer`."""
    options = "--no-deps --disable-pip --format json --progress-spinner off --timeout 10".split()
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "pip_audit", "-s", service, *options, "-r", "/dev/stdin"],
            input="\n".join(pins),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        raise NoAnswer(f"no answer within {SECONDS} s") from slow
    if not answer.stdout.strip():
        last = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if _NO_ANSWER.search(last):
            raise NoAnswer(last)
        raise SystemExit(f"dependency audit: FAILED, pip-audit itself ended with {answer.returncode}: {last}")
    report = json.loads(answer.stdout)
    return {
        entry["name"]: [advisory["id"] for advisory in entry["vulns"]]
        for entry in report["dependencies"]
        if "skip_reason" not in entry
    }


if __name__ == "__main__":
    sys.exit(main())
