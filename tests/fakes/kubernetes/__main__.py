"""
A fake cluster to play with: ``python -m tests.fakes.kubernetes FOLDER``, until Ctrl-C.

It prints how to talk to it: ``export KUBECONFIG=FOLDER/kubeconfig``.
"""

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from tests.fakes.kubernetes.cluster import running_cluster
from tests.fakes.kubernetes.node.ability import UnableError


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake Kubernetes cluster.")
    parser.add_argument("folder", type=Path, help="a new folder for its state")
    folder = parser.parse_args().folder.absolute()
    with contextlib.suppress(KeyboardInterrupt), running_cluster(folder) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        signal.pause()


if __name__ == "__main__":
    try:
        main()
    except UnableError as error:
        sys.exit(str(error))
