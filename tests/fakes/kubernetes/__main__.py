"""
A fake cluster to play with: ``python -m tests.fakes.kubernetes FOLDER``, until Ctrl-C.

It prints how to talk to it: ``export KUBECONFIG=FOLDER/kubeconfig``.
"""

import argparse
import contextlib
import signal
from pathlib import Path

from tests.fakes.kubernetes.cluster import running_cluster

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fake Kubernetes cluster.")
    parser.add_argument("folder", type=Path, help="a new folder for its state")
    with (
        contextlib.suppress(KeyboardInterrupt),
        running_cluster(parser.parse_args().folder.absolute()) as cluster,
    ):
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        signal.pause()
