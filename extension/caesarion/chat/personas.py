"""
Which personas a chat has: those of packages whose server extension is on.

Jupyter AI makes one for each chat, as ``persona_manager.json`` names the class; it finds
:mod:`caesarion.chat.persona` by its entry point. Its own would import, with the first chat and
while the whole server waits, the personas of external agents too, whose server extension
is off (0.25 s of CPU and 8 MB).

Written against jupyter-ai-persona-manager 0.2; ``tests/integration/test_chat.py`` fails
when what is overridden here changes upstream.
"""

from importlib.metadata import EntryPoint, EntryPoints, entry_points
from unittest import mock

from jupyter_ai_persona_manager import persona_manager


class PersonaManager(persona_manager.PersonaManager):
    """Jupyter AI's, without the personas of what is switched off."""

    def _init_ep_persona_classes(self) -> None:
        found = entry_points(group=persona_manager.EPG_NAME)
        wanted = EntryPoints(point for point in found if not self._is_off(point))
        with mock.patch.object(persona_manager, "entry_points", return_value=wanted):
            super()._init_ep_persona_classes()

    def _is_off(self, point: EntryPoint) -> bool:
        """Whether the server extension of the persona's package is known, and not enabled."""
        package = point.module.partition(".")[0]
        server = getattr(self.parent, "serverapp", None)
        return server is not None and server.jpserver_extensions.get(package) is False
