"""
The agent: how does a question become an answer?

:mod:`~caesarion.agent.loop` asks the model, runs the tools it calls and asks again. Invariant:
it knows neither chat nor Jupyter, and yields events to whoever listens.
"""
