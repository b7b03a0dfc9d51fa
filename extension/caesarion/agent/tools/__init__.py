"""The agent's tools, one module each, and :mod:`~caesarion.agent.tools.tool`: what a tool is."""
