"""
Jupyter AI's persona manager, which loads the personas of every chat.

``persona_manager.json`` names its class, and Jupyter AI makes one for each open chat.
"""

import traceback
from importlib.metadata import EntryPoint

from jupyter_ai_persona_manager import PersonaRequirementsUnmet, persona_manager

from caesarion import entry_points


class PersonaManager(persona_manager.PersonaManager):
    """
    Jupyter AI's persona manager, without the personas of disabled packages and of files.

    Upstream's imports every persona that is installed when the first chat opens, those of
    external agents too, whose server extensions are disabled: 0.25 s of CPU during which the
    whole server waits, and 8 MB. Written against jupyter-ai-persona-manager 0.2; it can go
    when upstream skips disabled packages.
    """

    def _init_ep_persona_classes(self) -> None:
        found = []
        points = entry_points.installed(entry_points.PERSONAS)
        enabled = [point for point in points if not self._is_disabled(point)]
        self.log.info("Loading personas: %s", ", ".join(point.name for point in enabled))
        for point in enabled:
            try:
                persona = {"persona_class": point.load(), "traceback": None}
            except PersonaRequirementsUnmet as error:
                self.log.warning("The persona %s is not available: %s", point.name, error)
                continue
            except Exception:
                # Upstream shows the traceback in the chat, and the other personas go on.
                persona = {"persona_class": None, "traceback": traceback.format_exc()}
            found.append({"module": point.name, **persona})
        persona_manager.PersonaManager._ep_persona_classes = found

    def _init_local_persona_classes(self) -> None:
        """
        Load nothing: upstream runs the files in ``.jupyter/personas`` beside or above a chat.

        A folder with a chat may come from anybody, and to open the chat would run its code in
        the server, past every approval.
        """

    def _is_disabled(self, point: EntryPoint) -> bool:
        """Whether the server extension of the persona's package is known, and disabled."""
        package = point.module.partition(".")[0]
        server = getattr(self.parent, "serverapp", None)
        return server is not None and server.jpserver_extensions.get(package) is False
