"""
The agent: how does a question become an answer?

:mod:`~caesarion.agent.loop` asks the model, runs the tools it calls and asks again. Its law:
it knows neither chat nor Jupyter, and yields events to whoever listens.
"""
