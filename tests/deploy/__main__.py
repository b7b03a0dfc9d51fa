"""
What ``make check`` asks of deploy/, beside its tests.

Terraform's files are formatted, and valid for the real provider's schema; trivy finds nothing that
no comment excuses; ansible-lint finds nothing.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import terraform
from tests.helm import RefusedError

TRIVY = [
    *(str(terraform.TOOLS / "trivy"), "config", "--quiet", "--exit-code", "1"),
    "--skip-check-update",  # its rules are part of it
    str(terraform.DEPLOY / "terraform"),
]
# The playbook, and with it each role; a role of its own would be checked once more.
ANSIBLE_LINT = [str(terraform.TOOLS / "ansible-lint"), "--offline", "-q", "--nocolor", "site.yaml"]


def main() -> int:
    """Print what is wrong, and return the exit status."""
    try:
        terraform.run(terraform.DEPLOY, {}, "fmt", "-check", "-diff", "-recursive", "terraform")
        with tempfile.TemporaryDirectory() as scratch:
            validate(Path(scratch))
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    return lint(TRIVY) or lint(ANSIBLE_LINT)


def validate(scratch: Path) -> None:
    """Raise RefusedError unless both examples, and so all modules, are valid."""
    with terraform.fake_google(scratch / "socket") as environment:
        for example in ("small", "production"):
            copied = terraform.copy(scratch / example, environment, f"examples/{example}")
            copied("validate", "-no-color")


def lint(command: list[str]) -> int:
    """Run a linter, print what it says if it finds anything, and return its exit status."""
    done = subprocess.run(
        command,
        cwd=terraform.DEPLOY / "ansible",
        env={**os.environ, "PATH": f"{terraform.TOOLS}:{os.environ['PATH']}"},
        # Ansible refuses a standard input that does not block, as some callers of make have.
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
