"""
The chat: how does a message reach the agent, and how does its answer reach the chat?

Invariant: only this package imports Jupyter AI.

=============  =====================================================================
persona        takes a message from Jupyter AI, and runs the agent on it
context        the kernel and the notebook that a question is about
questions      stores context and attachments' digests with a person's message
history        reads a chat back as the model's messages
transcript     writes the events of a turn into the chat
call_outputs   the outputs of one call, each a message of the chat
live_message   a message that changes often, updated at a bounded rate
bundles        the MIME bundles that the labextension draws
store          the model of a chat: saved whole or not at all, its messages signed
chat_id        which file a chat's id, and with it what was granted to the chat, belongs to
chat_file      the chat's file: read, replaced whole, set aside, its last good copy
provenance     signs the server's messages, and marks unsigned ones as foreign
=============  =====================================================================
"""
