/**
 * Auto-scroll: the end of an answer stays in view while the answer grows, until its
 * reader scrolls up. A new question scrolls to the end again.
 *
 * jupyterlab-chat 0.25 scrolls when its DOM changes, but not when a decoded plot gets
 * its height, and it loses the end when messages come in quick succession.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

const MESSAGES = '.jp-chat-messages-container';

/** Pixels from the end that count as the end: the room below the last message is 64. */
const NEAR = 80;

/** Keep the end of `messages` in view unless the reader scrolls up; return a function that returns there. */
function followMessages(messages: HTMLElement): () => void {
  const view = messages.parentElement!;
  let following = true;
  let top = view.scrollTop;
  view.addEventListener('scroll', () => {
    const near = view.scrollHeight - view.scrollTop - view.clientHeight < NEAR;
    const down = view.scrollTop >= top;
    if (near && down) {
      following = true;
    } else if (!near && !down) {
      following = false; // The chat itself scrolls up too, but not as far.
    }
    top = view.scrollTop;
  });
  view.addEventListener(
    'wheel',
    event => {
      if (event.deltaY < 0 && view.scrollTop > 0) {
        following = false;
      }
    },
    { passive: true }
  );
  const observer = new ResizeObserver(() => {
    if (following) {
      view.scrollTop = view.scrollHeight;
    }
  });
  observer.observe(messages);
  observer.observe(view);
  return () => {
    following = true;
    view.scrollTop = view.scrollHeight;
  };
}

/** Follow `chat`, whose messages are drawn after it was added, and more than once. */
function follow(chat: IChatPanel): void {
  let messages: HTMLElement | null = null;
  let toEnd = (): void => undefined;
  const look = (): void => {
    if (messages === null || !chat.node.contains(messages)) {
      messages = chat.node.querySelector<HTMLElement>(MESSAGES);
      if (messages) {
        toEnd = followMessages(messages);
      }
    }
  };
  new MutationObserver(look).observe(chat.node, {
    childList: true,
    subtree: true
  });
  look();
  let asked: string | undefined;
  chat.model.messagesUpdated.connect(model => {
    const last = model.messages[model.messages.length - 1];
    const own = last?.sender.username === model.user?.username;
    if (own && last?.id !== asked) {
      asked = last?.id;
      toEnd();
    }
  });
}

export const autoScroll: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:auto-scroll',
  description: 'Keeps the end of an answer in view while it grows.',
  autoStart: true,
  optional: [IChatTracker],
  activate: (_app, chats: IChatTracker | null) => {
    chats?.forEach(follow);
    chats?.widgetAdded.connect((_, chat) => follow(chat));
  }
};
