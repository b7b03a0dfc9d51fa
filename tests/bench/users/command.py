"""Reads the arguments of ``python -m tests.bench users``, simulates, and writes the report."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.users.cluster import Target, running_target
from tests.bench.users.crowd import Crowd, Plan, Size, remove
from tests.bench.users.hub import SCOPES, Hub, RefusedError
from tests.bench.users.report import make_report
from tests.fakes.kubernetes.node.ability import UnableError

_TOKEN = "JUPYTERHUB_API_TOKEN"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        sizes = _sizes(options.count, options.sizes)
        if options.report and not options.report.parent.is_dir():
            raise RefusedError(f"--report: there is no folder {options.report.parent}.")
        if options.hub and not options.token:
            raise RefusedError(f"--hub needs --token, or {_TOKEN} in the environment.")
        with _target(options) as target:
            if options.remove:
                asyncio.run(_remove(target))
                return 0
            plan = Plan(
                sizes=sizes,
                seconds=options.seconds,
                burst=0 if options.no_servers else options.burst or (20 if options.hub else 100),
                questions=(0 if options.hub else 2)
                if options.questions is None
                else options.questions,
                model=options.model,
            )
            measured, version = asyncio.run(_simulate(target, plan))
    except (RefusedError, UnableError) as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Stopped.", file=sys.stderr)
        return 130
    where = f"JupyterHub {version} at {options.hub}."
    if not options.hub:
        where = f"JupyterHub {version} on the tests' cluster, with stand-ins for servers."
    report = make_report(measured, plan, where, options.count)
    if options.report:
        options.report.write_text(f"{report}\n")
    else:
        print(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench users",
        description="Simulate users with open chats, and report what they wait and what it costs.",
    )
    add = parser.add_argument
    add("--count", type=_positive(int), default=100, help="how many users (default: %(default)s)")
    add(
        "--sizes",
        type=_positive(int),
        nargs=2,
        metavar="N",
        help="measure so many and so many instead, and extrapolate to --count",
    )
    add(
        "--hub",
        metavar="URL",
        help="a running hub, as browsers open it, where users get real servers (default: this "
        "checkout's chart on the tests' cluster, as root on Linux, with stand-ins for servers)",
    )
    add(
        "--token",
        default=os.environ.get(_TOKEN, ""),
        help=f"a token for --hub with {', '.join(SCOPES)} (default: ${_TOKEN})",
    )
    add("--no-servers", action="store_true", help="start none: hub and gateway alone")
    add(
        "--burst",
        type=_positive(int),
        help="servers that start at a time (default: 20, or 100 stand-ins)",
    )
    add(
        "--seconds",
        type=_positive(float),
        default=60.0,
        help="how long chats are open at each size (default: %(default)s)",
    )
    add(
        "--questions",
        type=float,
        help="questions to the model per user and minute (default: 2, or 0 with --hub, where your "
        "provider may bill them)",
    )
    add("--model", default="", help="the model (default: the first that the gateway lists)")
    add(
        "--proxy-metrics",
        default="",
        metavar="URL",
        help="where the proxy's metrics can be read, such as a forwarded port 8002 with /metrics",
    )
    add("--report", type=Path, metavar="FILE", help="where to write (default: standard output)")
    add("--remove", action="store_true", help="only remove what a killed run has left on --hub")
    return parser


def _positive(kind: type) -> "argparse._ActionType":
    def read(text: str) -> float:
        value: float = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"it is {text}, and must be more than 0")
        return value

    return read


def _sizes(count: int, sizes: Sequence[int] | None) -> list[int]:
    if not sizes:
        return [count]
    if not sizes[0] < sizes[1] < count:
        raise RefusedError(
            f"--sizes {sizes[0]} {sizes[1]} cannot be extrapolated to --count {count}: "
            "they must ascend, and be less."
        )
    return list(sizes)


@contextmanager
def _target(options: argparse.Namespace) -> Iterator[Target]:
    if options.hub:
        yield Target(options.hub, options.token, options.proxy_metrics)
    else:
        with tempfile.TemporaryDirectory() as folder, running_target(Path(folder)) as target:
            yield target


async def _simulate(target: Target, plan: Plan) -> tuple[list[Size], str]:
    """Return what was measured, and the hub's version; ends cleanly at SIGTERM as at SIGINT."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Hub.connect(target.url, target.token) as hub:
        version = await hub.check()
        crowd = Crowd(hub, plan, target.proxy)
        # The tests' cluster goes, with all that is in it.
        measured = crowd.measure() if target.is_temporary else crowd.measure_and_remove()
        return await measured, version


async def _remove(target: Target) -> None:
    async with Hub.connect(target.url, target.token) as hub:
        await hub.check()
        await remove(hub)
