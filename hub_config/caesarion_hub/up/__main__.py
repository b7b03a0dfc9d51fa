"""The entry point of ``make up``."""

import signal

# Until there is something to stop, Ctrl-C ends us at once and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from caesarion_hub.up.launcher import main  # noqa: E402

main()
