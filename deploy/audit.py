"""
Says which pinned packages have a known flaw, and which version is without it: ``make audit``.

pip-audit asks PyPI about every lock of pip, npm about every lock of its own. Ends with 1 if
there is a flaw, and with 3 if a source cannot be reached: then nothing is known. Python's
standard library; pip-audit is in ``.venv/tools``.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP_LOCKS = (
    "requirements.txt",
    "deploy/requirements.txt",
    "deploy/tools-requirements.txt",
    "hub_config/proxy/requirements.txt",
    "hub_config/requirements.txt",
    "singleuser_image/requirements-build.txt",
    "singleuser_image/requirements.txt",
    "tests/fakes/litellm-requirements.txt",
    "tests/fakes/terraform/schema-requirements.txt",
    "tests/requirements.txt",
    "uv-requirements.txt",
)
NPM_LOCKS = (
    "extension/labextension/package-lock.json",
    "hub_config/proxy/package-lock.json",
    "tests/fakes/aimock/package-lock.json",
    "tests/fakes/argocd/package-lock.json",
)
PIP_AUDIT = str(ROOT / ".venv/tools/bin/pip-audit")


class UnreachableError(Exception):
    """A source does not answer; the message is a sentence."""


@dataclass(frozen=True, order=True)
class Flaw:
    """A known flaw of a package that a lock pins."""

    lock: str
    package: str
    flaw: str
    """Its name, such as GHSA-... or PYSEC-..."""
    remedy: str
    """A version without it, or that there is none."""


def audit_pip(lock: str, root: Path = ROOT, program: str = PIP_AUDIT) -> list[Flaw]:
    """Return the flaws of what pip installs from a lock; raise UnreachableError."""
    options = ["--format=json", "--progress-spinner=off", "--require-hashes", "--disable-pip"]
    done = _run([program, *options, f"--requirement={root / lock}"], root)
    try:
        table = json.loads(done.stdout)
    except ValueError as error:
        raise UnreachableError(_unreachable("PyPI", done.stderr)) from error
    # It also skips what PyPI does not answer about, and then says that all is well.
    if skipped := [one["skip_reason"] for one in table["dependencies"] if "skip_reason" in one]:
        raise UnreachableError(_unreachable("PyPI", skipped[0]))
    return sorted(_of_pip(lock, table))


def _of_pip(lock: str, table: Mapping[str, list[dict[str, object]]]) -> Iterator[Flaw]:
    for one in table["dependencies"]:
        flaws = one.get("vulns", [])
        if isinstance(flaws, list):
            for flaw in flaws:
                fixed = ", ".join(flaw["fix_versions"])
                remedy = f"fixed in {fixed}" if fixed else "no fix yet"
                yield Flaw(lock, f"{one['name']} {one['version']}", flaw["id"], remedy)


def audit_npm(lock: str, root: Path = ROOT, program: str = "npm") -> list[Flaw]:
    """Return the flaws of what npm installs from a lock; raise UnreachableError."""
    folder = (root / lock).parent
    done = _run([program, "audit", "--package-lock-only", "--json"], folder)
    try:
        table = json.loads(done.stdout)
    except ValueError as error:
        raise UnreachableError(_unreachable("npm's registry", done.stderr)) from error
    if "vulnerabilities" not in table:
        said = str(table.get("message") or table.get("error"))
        raise UnreachableError(_unreachable("npm's registry", said))
    found = table["vulnerabilities"]
    return sorted(
        Flaw(lock, f"{name} {one['range']}", source["url"], _npm_remedy(one["fixAvailable"]))
        for name, one in found.items()
        for source in one["via"]
        if isinstance(source, dict)  # else it is the name of another package in the list
    )


def _npm_remedy(fix: bool | Mapping[str, str]) -> str:
    if isinstance(fix, Mapping):
        return f"fixed with {fix['name']} {fix['version']}"
    return "`npm update` has a version without it" if fix else "no fix yet"


def _unreachable(source: str, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return (
        f"{source} cannot be asked about flaws from here, so nothing is known of them. "
        f"Run `make audit` where it can be reached. It said: {lines[-1] if lines else 'nothing'}"
    )


def _run(command: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, check=False
    )


def main() -> int:
    """Audit every lock; return the exit status."""
    flaws: list[Flaw] = []
    unreachable: dict[str, None] = {}
    for audit, locks in ((audit_pip, PIP_LOCKS), (audit_npm, NPM_LOCKS)):
        for lock in locks:
            try:
                flaws += audit(lock)
            except UnreachableError as error:
                unreachable[str(error)] = None
                break
    for flaw in flaws:
        print(f"{flaw.lock}: {flaw.package} has {flaw.flaw}: {flaw.remedy}.")
    for sentence in unreachable:
        print(sentence, file=sys.stderr)
    if flaws:
        print("`make requirements UPGRADE=--upgrade` and `npm update` take newer versions.")
        return 1
    if unreachable:
        return 3
    print(f"No known flaw in {len(PIP_LOCKS)} locks of pip and {len(NPM_LOCKS)} of npm.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
