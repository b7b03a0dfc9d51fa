/**
 * Lists the chats of the side panel every ten seconds.
 *
 * jupyterlab-chat 0.25 asks for them every two seconds while the panel is visible: half of the
 * requests of a page that nobody uses. What the page itself creates, renames or deletes is still
 * listed at once.
 */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IMultiChatPanel } from 'jupyterlab-chat';

/** Milliseconds between two lists that the panel's timer asks for. */
const EVERY = 10_000;

export const chatList: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:chat-list',
  description: 'Lists the chats of the side panel less often.',
  autoStart: true,
  optional: [IMultiChatPanel],
  activate: (_app, panel: IMultiChatPanel | null) => {
    if (!panel) {
      return;
    }
    const { updateChatList } = panel;
    let listed = 0;
    panel.updateChatList = function (this: unknown): void {
      // The timer calls it as a function, everybody else as a method of the panel.
      if (this === panel || Date.now() - listed >= EVERY) {
        listed = Date.now();
        updateChatList();
      }
    };
  }
};
