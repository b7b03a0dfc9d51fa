/**
 * The end of an answer stays in view while it grows. Started by index.ts.
 *
 * jupyterlab-chat 0.25 follows changes of its DOM, but not a plot that gets its
 * height when it is decoded, and it loses the end when messages come in quick
 * succession. Here only who reads scrolls away from the end, until they ask again.
 */

import type { IChatPanel, IChatTracker } from '@jupyter/chat';

const MESSAGES = '.jp-chat-messages-container';

/** Pixels from the end that count as the end: the room below the last message is 64. */
const NEAR = 80;

/** Keep the end of `messages` in view unless somebody scrolls up; return what goes there again. */
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

/** Follow every chat for as long as it is open. */
export function followAnswers(chats: IChatTracker): void {
  chats.forEach(follow);
  chats.widgetAdded.connect((_, chat) => follow(chat));
}
