"""The agent's tools, one module each, and :mod:`~caesarion.tools.tool`: what a tool is."""
