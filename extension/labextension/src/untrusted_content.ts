/**
 * What an agent, a file or another person wrote into a chat is looked at, and does
 * nothing. The lab's sanitiser takes script out of it; here goes what it leaves in:
 * attributes that let a click run a command of the lab, and forms.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

const WRITTEN = '.jp-chat-rendered-message';
const COMMAND = 'data-commandlinker-command';

function disarm(chat: IChatPanel): void {
  // Before the click gets to the lab's own listener, which is on the page's body.
  const click = (event: Event): void => {
    const target = event.target as Element;
    const linked = target.closest(`[${COMMAND}]`);
    if (linked?.closest(WRITTEN)) {
      linked.removeAttribute(COMMAND);
      event.stopPropagation();
    }
  };
  chat.node.addEventListener('click', click, true);
  // A form has nowhere to go but the lab's own page, which it would load anew.
  chat.node.addEventListener('submit', event => event.preventDefault(), true);
}

export const untrustedContent: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:untrusted-content',
  description: 'Keeps what was written into a chat from doing anything.',
  autoStart: true,
  optional: [IChatTracker],
  activate: (_app, chats: IChatTracker | null) => {
    chats?.forEach(disarm);
    chats?.widgetAdded.connect((_, chat) => disarm(chat));
  }
};
