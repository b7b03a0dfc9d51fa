/**
 * The bar above a chat's input, in which plugins put what belongs to the next
 * message (context.tsx) or to the chat as a whole (status_indicator.tsx).
 */

import type { IChatPanel } from '@jupyter/chat';
import { Widget } from '@lumino/widgets';

const LINE = 'jp-Caesarion-inputBar';

const lines = new WeakMap<IChatPanel, HTMLElement>();

/** The line of `chat`, kept above the input however often the chat is drawn anew. */
function barOf(chat: IChatPanel): HTMLElement {
  const known = lines.get(chat);
  if (known) {
    return known;
  }
  const line = document.createElement('div');
  line.className = LINE;
  lines.set(chat, line);
  const selector = `.jp-chat-input-container[data-input-id="${chat.model.input.id}"]`;
  const place = (): void => {
    const container = chat.node.querySelector(selector);
    if (container && container.firstChild !== line) {
      container.prepend(line);
    }
  };
  const observer = new MutationObserver(place);
  observer.observe(chat.node, { childList: true, subtree: true });
  chat.disposed.connect(() => observer.disconnect());
  place();
  return line;
}

/** Put `widget` into the line of `chat` as soon as the chat is drawn. */
export function addToInputBar(chat: IChatPanel, widget: Widget): void {
  const line = barOf(chat);
  const attach = (): boolean => {
    if (line.isConnected && !widget.isDisposed) {
      Widget.attach(widget, line);
      return true;
    }
    return widget.isDisposed;
  };
  if (!attach()) {
    const observer = new MutationObserver(() => {
      if (attach()) {
        observer.disconnect();
      }
    });
    observer.observe(chat.node, { childList: true, subtree: true });
  }
  chat.disposed.connect(() => {
    if (!widget.isDisposed) {
      if (widget.isAttached && !widget.node.isConnected) {
        document.body.append(widget.node); // Else it could not be detached.
      }
      widget.dispose();
    }
  });
}
