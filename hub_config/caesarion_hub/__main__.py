"""The hub: ``python -m caesarion_hub`` takes the arguments of ``jupyterhub``."""

from caesarion_hub.application import CaesarionHub

CaesarionHub.launch_instance()
