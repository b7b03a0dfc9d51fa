/**
 * A chat that can be seen: one that is open, else the chat named "Chat" in the side panel. Called by
 * error_actions.ts.
 */

import type { IChatPanel, IChatTracker } from '@jupyter/chat';
import type { JupyterFrontEnd } from '@jupyterlab/application';

/** Return the chat last used, brought into view, once messages can be sent from it. */
export async function chatInView(
  app: JupyterFrontEnd,
  chats: IChatTracker
): Promise<IChatPanel> {
  const chat = visibleChat(chats) ?? (await shownChat(app, chats));
  await chat.model._wsHandler?.ready;
  return chat;
}

function visibleChat(chats: IChatTracker): IChatPanel | undefined {
  const last = chats.currentWidget;
  return last?.isVisible ? last : chats.find(chat => chat.isVisible);
}

/** Show a chat that is hidden; if none is open, open one. */
async function shownChat(
  app: JupyterFrontEnd,
  chats: IChatTracker
): Promise<IChatPanel> {
  const hidden = chats.currentWidget ?? chats.find(() => true);
  if (hidden?.area === 'main') {
    app.shell.activateById(hidden.id);
    return hidden;
  }
  if (hidden) {
    await app.commands.execute('jupyterlab-chat:open', {
      filepath: hidden.model.name,
      inSidePanel: true
    });
    return visibleChat(chats) ?? hidden;
  }
  const added = new Promise<IChatPanel>(resolve => {
    const take = (_: IChatTracker, chat: IChatPanel): void => {
      chats.widgetAdded.disconnect(take);
      resolve(chat);
    };
    chats.widgetAdded.connect(take);
  });
  await app.commands.execute('jupyterlab-chat:createAndOpen', {
    name: 'Chat',
    inSidePanel: true
  });
  return visibleChat(chats) ?? added;
}
