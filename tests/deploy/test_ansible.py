"""
deploy/ansible: the CI machine's playbook runs, twice, on a throw-away copy of this machine.

Left out are Debian's large packages (buildah, Java) and those of Google's archive, and there is no
systemd that could start a service.
"""

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import throwaway
from tests.helm import path_of
from tests.terraform import DEPLOY, TOOLS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFsbCB6ZXJvcyBhbmQgb25lcywgbm8ga2V5IQ ada"
PLAY = """
cp "$HELM" /usr/local/bin/helm
echo "no kubectl" > /usr/local/bin/kubectl
rm -f /var/lib/man-db/auto-update # or each package would have all pages indexed
useradd --create-home former
export HOME=/root ANSIBLE_CONFIG="$PWD/deploy/ansible/ansible.cfg"
export ANSIBLE_NOCOLOR=1 PYTHONDONTWRITEBYTECODE=1 DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1
for run in first second; do
  "$ANSIBLE" --inventory "$FOLDER/inventory.yaml" "$PWD/deploy/ansible/site.yaml" \\
    > "$FOLDER/$run" || { cat "$FOLDER/$run"; exit 1; }
done
sshd -T > "$FOLDER/sshd"
visudo -c
apt-config dump > "$FOLDER/apt"
sudo -l -U ada > "$FOLDER/sudo"
kubectl version --client >&2
cp /home/ada/.ssh/authorized_keys "$FOLDER/keys"
cp /etc/systemd/system/jenkins-agent.service "$FOLDER/service"
stat --format "%n %A %U" /home/ada/.ssh/authorized_keys \\
  /usr/local/lib/jenkins-agent.jar /etc/jenkins-agent-secret \\
  /etc/systemd/system/multi-user.target.wants/jenkins-agent.service > "$FOLDER/files"
ln -sf /bin/true /usr/bin/java
systemd-analyze verify /etc/systemd/system/jenkins-agent.service
getent passwd > "$FOLDER/passwd"
"""
Files = dict[str, str]


@pytest.fixture(scope="module")
def machine(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """What is on the machine after two runs, by the name of a file."""
    folder = tmp_path_factory.mktemp("machine")
    throwaway.skip_unless_possible(folder)
    jar = b"This is no agent."
    (folder / "jnlpJars").mkdir()
    (folder / "jnlpJars" / "agent.jar").write_bytes(jar)
    with serving(folder) as address:
        inventory = make_inventory(address, hashlib.sha256(jar).hexdigest())
        (folder / "inventory.yaml").write_text(yaml.safe_dump(inventory))
        settings = {
            "FOLDER": folder,
            "HELM": path_of("helm"),
            "ANSIBLE": TOOLS / "ansible-playbook",
        }
        exports = "".join(f"{name}='{value}'\n" for name, value in settings.items())
        throwaway.run(folder, f"cd '{DEPLOY.parent}'\n{exports}{PLAY}")
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def make_inventory(address: str, sha256: str) -> dict[str, Any]:
    """Return an inventory whose one CI machine is this one."""
    settings = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "users_present": [{"name": "ada", "keys": [KEY], "administrator": True}],
        "users_absent": ["former"],
        "packages_names": ["openssh-server", "sudo", "systemd", "unattended-upgrades"],
        "packages_further": [],
        "kubernetes_tools_python": str(TOOLS.parents[1] / "bin" / "python"),
        "jenkins_agent_url": address,
        "jenkins_agent_name": "caesarion",
        "jenkins_agent_secret": "a secret",
        "jenkins_agent_jar_sha256": sha256,
    }
    return {"ci": {"hosts": {"localhost": settings}}, "bastion": {"hosts": {}}}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder's files; yield the address."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def changes(printed: str) -> list[str]:
    """Return the names of the tasks that changed something."""
    tasks = re.findall(
        r"^TASK \[(?:\w+ : )?(.*)\] \*+\n((?:(?!TASK|PLAY).*\n)*)", printed, re.MULTILINE
    )
    return [name for name, results in tasks if "changed: [" in results]


def test_the_second_run_changes_nothing(machine: Files) -> None:
    assert len(changes(machine["first"])) >= 15
    assert changes(machine["second"]) == []
    assert re.search(r"localhost +: ok=\d{2} +changed=0 ", machine["second"])


def test_ssh_takes_keys_only(machine: Files) -> None:
    effective = set(machine["sshd"].splitlines())
    assert {
        "permitrootlogin no",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "allowtcpforwarding no",
        "allowagentforwarding no",
        "x11forwarding no",
        "maxauthtries 3",
    } <= effective


def test_users_are_those_that_are_named(machine: Files) -> None:
    names = {line.partition(":")[0] for line in machine["passwd"].splitlines()}
    assert {"ada", "jenkins"} <= names
    assert "former" not in names
    assert machine["keys"] == f"{KEY}\n"
    assert "(ALL) NOPASSWD: ALL" in machine["sudo"]


def test_the_machine_upgrades_and_restarts_itself_at_night(machine: Files) -> None:
    effective = set(machine["apt"].splitlines())
    assert {
        'APT::Periodic::Unattended-Upgrade "1";',
        'Unattended-Upgrade::Automatic-Reboot "true";',
        'Unattended-Upgrade::Automatic-Reboot-Time "03:30";',
    } <= effective


def test_only_the_tool_with_another_hash_is_a_reason_to_install(machine: Files) -> None:
    assert "Install helm and kubectl, whose hashes the script checks" in changes(machine["first"])


def test_the_agents_program_and_secret_can_be_changed_by_root_only(machine: Files) -> None:
    assert machine["files"].splitlines() == [
        "/home/ada/.ssh/authorized_keys -rw------- ada",
        "/usr/local/lib/jenkins-agent.jar -rw-r--r-- root",
        "/etc/jenkins-agent-secret -r--r----- root",
        "/etc/systemd/system/multi-user.target.wants/jenkins-agent.service lrwxrwxrwx root",
    ]
    assert "a secret" not in machine["service"] + machine["first"]
