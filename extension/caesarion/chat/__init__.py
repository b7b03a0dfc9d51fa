"""
The chat: how does a message reach the agent, and how does its answer reach the chat?

The persona takes a message, the history becomes the model's prompt, and the transcript writes
the turn's events back. Its law: only this package imports Jupyter AI.
"""
