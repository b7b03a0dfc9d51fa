"""
Runs: work that outlives who asked for it, and its journal on disk.

Runs in the background and the turns of chats are recorded here. Knows neither chat nor HTTP:
:mod:`caesarion.api` and :mod:`caesarion.chat` do the work and write its events.
"""
