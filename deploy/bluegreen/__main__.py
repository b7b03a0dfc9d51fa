"""The command line of blue-green: ``python3 -m deploy.bluegreen --help``; see ``flow``."""

import argparse
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from deploy.bluegreen.cluster import Cluster, FailedError
from deploy.bluegreen.flow import Move
from deploy.bluegreen.route import Place

COMMANDS = {
    "deploy": "install the idle colour, try it, move new browsers to it; back on failure",
    "finish": "remove the old colour, when its users' servers have ended",
    "back": "send everybody to the old colour again, and remove the new one",
    "upgrade": "upgrade the live colour where it is",
    "status": "say what the route does",
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; exit with a sentence if they are wrong."""
    listed = "\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.bluegreen",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Move an installation from one release to another.\n\n{listed}",
        epilog="Options that are not listed go to helm: --values FILE, --set KEY=VALUE. "
        "SMOKE_PASSWORD or SMOKE_TOKEN lets the smoke test in.",
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("--name", default="caesarion", help="of the route, and of -blue and -green")
    parser.add_argument("--namespace", default="caesarion", help="of both releases")
    parser.add_argument("--users-namespace", default="caesarion-users", help="of both releases")
    parser.add_argument("--gateway", required=True, help="NAMESPACE/NAME[/LISTENER]")
    parser.add_argument("--url", required=True, help="the hub's address, with hub.baseUrl")
    parser.add_argument("--hostname", action="append", default=[], help="of the route; repeatable")
    parser.add_argument("--chart", default="helm/caesarion", help="a folder, file or address")
    parser.add_argument("--steps", default="10,50,100", help="percent of new browsers")
    parser.add_argument("--watch", type=float, default=60, help="seconds for each step")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for helm")
    parser.add_argument("--user", default="smoke-test", help="of the smoke test")
    given, helm = parser.parse_known_args(arguments)
    given.helm = helm
    try:
        given.steps = [int(one) for one in given.steps.split(",")]
    except ValueError:
        parser.error(f"--steps {given.steps}: percentages such as 10,50,100 are needed")
    if given.steps != sorted(set(given.steps)) or given.steps[0] < 1 or given.steps[-1] != 100:
        parser.error("--steps rise from at least 1 and end with 100")
    if given.gateway.count("/") not in (1, 2):
        parser.error(f"--gateway {given.gateway}: NAMESPACE/NAME or NAMESPACE/NAME/LISTENER")
    return given


def main() -> int:
    """Run a command; return the exit status."""
    given = parse()
    base_url = urlsplit(given.url).path.rstrip("/") + "/"
    place = Place(given.name, given.namespace, given.gateway, tuple(given.hostname), base_url)
    cluster = Cluster(place, given.users_namespace, given.chart, given.helm, given.timeout)
    move = Move(cluster, given.url, given.steps, given.watch, given.user, say)
    try:
        if given.command == "status":
            state = move.state()
            say(str(state) if state else "There is no route.")
        else:
            getattr(move, given.command)()
    except (FailedError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def say(text: str) -> None:
    """Print a line at once, for a pipeline's log."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
