/**
 * Asks for a chat's personas until they have come.
 *
 * Jupyter AI 3.2 tells them once, when the page connects to the chat, as one of the server's
 * events. A page hears events only once it has been seen, and may hear them late on a busy
 * machine: a chat that was there before offered nobody to talk to, until the page was loaded again.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Event } from '@jupyterlab/services';
import { Poll } from '@lumino/polling';

const PERSONAS = 'https://schema.jupyter.org/jupyter_ai_persona_manager/personas/v1';
const ROOM = 'https://schema.jupyter.org/jupyterlab_chat/room/v1';

/** Milliseconds between two looks; usually they have come at the first. */
const EVERY = 1_000;

/** Ask for the personas of `chat` until its id is among those that were told. */
function ask(events: Event.IManager, told: Set<string>, chat: IChatPanel): void {
  const { model } = chat;
  const poll = new Poll({
    name: '@caesarion/labextension:personas',
    factory: async () => {
      const { id, name } = model;
      if (id && told.has(id)) {
        poll.dispose();
      } else if (id) {
        // What the chat itself tells the server's extensions when a page connects to it.
        const data = { action: 'client_connected', chat_id: id, path: name };
        await events.emit({ schema_id: ROOM, version: '1', data });
      }
    },
    frequency: { interval: EVERY, backoff: true, max: 30 * EVERY },
    standby: 'when-hidden'
  });
  model.disposed.connect(() => {
    poll.dispose();
    told.delete(model.id ?? '');
  });
}

export const personas: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:personas',
  description: "Asks for a chat's personas until they have come.",
  autoStart: true,
  optional: [IChatTracker],
  activate: (app, chats: IChatTracker | null) => {
    const { events } = app.serviceManager;
    const told = new Set<string>();
    events.stream.connect((_, event) => {
      if (event.schema_id === PERSONAS) {
        told.add(String(event.chat_id));
      }
    });
    chats?.widgetAdded.connect((_, chat) => ask(events, told, chat));
  }
};
