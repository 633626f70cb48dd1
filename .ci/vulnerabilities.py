"""Asks whether what is installed here has vulnerabilities that are known.

    python .ci/vulnerabilities.py [--osv-url URL] [--requirements FILE]

Ends with 1 if there are any, with 2 if pip-audit itself is at fault. Where no service of
vulnerabilities can be reached it says NOT CHECKED and ends with 0: a machine without a network is
no reason to stop. pip-audit ends with 1 either way, and with 0 if the service knows no package at
all (a mirror of PyPI has no vulnerabilities), so what it says has to be read.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

# What the environment came with, and what is checked here: neither is installed for us.
LEFT_OUT: Final = frozenset({"pip", "setuptools", "wheel", "teamcache-gateway"})
# Those that do not touch us, each with the reason why.
ACCEPTED: Final[Mapping[str, str]] = {}
# What pip-audit says before it gives up on a service, whichever way that one is out of reach.
UNREACHABLE: Final = re.compile(
    r"requests\.exceptions\.|interface\.ServiceError|Tip: your network may be blocking"
)
SECONDS: Final = "20"


class NotChecked(Exception):
    """No service of vulnerabilities could be asked; says why."""


class Broken(Exception):
    """pip-audit did not run as it should; says what it said."""


def installed() -> list[str]:
    """Every package in this environment, as a requirement of just that version."""
    versions: dict[str, str] = {}
    for found in metadata.distributions():
        # Of two on the path the first one is what is imported.
        versions.setdefault(re.sub(r"[-_.]+", "-", found.name).lower(), found.version)
    return [f"{name}=={versions[name]}" for name in sorted(versions.keys() - LEFT_OUT)]


def ask(service: list[str], requirements: Path) -> Any:
    """What pip-audit found. Raises `NotChecked` or `Broken`."""
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"]
    command += [f"--timeout={SECONDS}", "--no-deps", "--disable-pip"]
    command += [f"--requirement={requirements}"]
    command += [f"--ignore-vuln={name}" for name in ACCEPTED]
    done = subprocess.run([*command, *service], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        last = done.stderr.strip().rpartition("\n")[2]
        if done.returncode == 1 and UNREACHABLE.search(done.stderr):
            raise NotChecked(last[:300]) from None
        raise Broken(done.stderr.strip() or f"It said nothing, and {done.returncode}") from None


def judge(report: Any) -> tuple[str, list[str]]:
    """How many packages were looked up, in words, and each vulnerability, in a line.

    Raises `NotChecked` if the service knew none of the packages.
    """
    packages = report["dependencies"]
    checked = [package for package in packages if "vulns" in package]
    unknown = [package["name"] for package in packages if "vulns" not in package]
    if not checked:
        raise NotChecked(f"The service knows none of the {len(packages)} packages")
    words = f"{len(checked)} packages were looked up"
    if unknown:
        words += f", and {len(unknown)} are NOT CHECKED: {', '.join(sorted(unknown))}"
    return words, [_line(package, vuln) for package in checked for vuln in package["vulns"]]


def _line(package: Mapping[str, Any], vuln: Mapping[str, Any]) -> str:
    mended = ", ".join(vuln["fix_versions"]) or "no version"
    return f"{package['name']} {package['version']}: {vuln['id']}, mended in {mended}"


def ask_one_of(services: list[list[str]], requirements: Path) -> tuple[str, list[str]]:
    """The verdict of the first service that has one. Raises `NotChecked` if none has."""
    reasons = []
    for service in services:
        try:
            return judge(ask(service, requirements))
        except NotChecked as error:
            reasons.append(f"{service[0].rpartition('=')[2]}: {error}")
    raise NotChecked("\n".join(reasons))


def check(services: list[list[str]], requirements: Path) -> int:
    """Say what was found; gives the code to end with."""
    try:
        words, found = ask_one_of(services, requirements)
    except NotChecked as error:
        print(f"{error}\nNOT CHECKED for vulnerabilities: no service could be asked")
        return 0
    except Broken as error:
        print(f"{error}\nNOT CHECKED for vulnerabilities: pip-audit is at fault", file=sys.stderr)
        return 2
    print("\n".join([*found, f"{words}; vulnerabilities: {len(found)}"]))
    return 1 if found else 0


def main() -> int:
    """Read the command line and check."""
    parser = argparse.ArgumentParser(description="Look up what is installed for vulnerabilities.")
    parser.add_argument("--osv-url", help="ask this service, which speaks as api.osv.dev does")
    parser.add_argument("--requirements", type=Path, help="look these up, not what is installed")
    told = parser.parse_args()
    services = [["--vulnerability-service=osv"], ["--vulnerability-service=pypi"]]
    if told.osv_url:
        services = [["--vulnerability-service=osv", f"--osv-url={told.osv_url}"]]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(installed()))
        return check(services, told.requirements or listed)


if __name__ == "__main__":
    sys.exit(main())
