"""
Run the api service until SIGTERM or SIGINT: ``python -m caesarion_hub.api``.

A setting that cannot be used ends it with one sentence and exit status 1.
"""

import asyncio
import contextlib
import logging
import os
import sys
from types import FrameType

import uvicorn

from caesarion_hub import logs
from caesarion_hub.api.application import make_application
from caesarion_hub.api.config import Config, ConfigError, from_environment
from caesarion_hub.api.state import State

log = logging.getLogger("api")


class Server(uvicorn.Server):
    """uvicorn's server, which gives streams the time to end, and then their last words."""

    def __init__(self, settings: uvicorn.Config, state: State) -> None:
        super().__init__(settings)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more calls, and end the streams in progress after the grace."""
        if not self.should_exit:
            loop = asyncio.get_running_loop()
            loop.call_later(self._state.config.grace, self._state.stopping.event.set)
        super().handle_exit(sig, frame)


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT."""
    application = make_application(config)
    settings = uvicorn.Config(
        application,
        host=config.host,
        port=config.port,
        http="httptools",
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=round(config.grace) + 5,
    )
    # uvicorn raises a signal that it has handled once more.
    with contextlib.suppress(KeyboardInterrupt):
        Server(settings, application.state.shared).run()


def main() -> int:
    """Return the exit status."""
    logs.configure_service("api", os.environ.get("CAESARION_API_LOG_LEVEL_KEY", ""))
    try:
        serve(from_environment())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
