/**
 * A notice above the input while the chat has no connection to its server. A message stays
 * in the input until it can be sent, also if the page must be reloaded for that.
 *
 * jupyterlab-chat 0.25 drops a message that is sent while its socket is down, without
 * a word, and opens the socket again only after an abnormal end (code 1006): a server
 * that was stopped in good order never gets its chats back. Where the first connection fails,
 * it goes on without the server for good: messages go into the file, and nobody answers.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { Widget } from '@lumino/widgets';

import { addToInputBar } from './input_bar';

/** Milliseconds between two checks of the socket's state, which cost nothing. */
const EVERY = 1_000;

/** Milliseconds between two requests to a server that is away; upstream opens sockets every second. */
const PAUSE = 4_000;

/** Milliseconds for which the notice of the server's return is shown. */
const BACK = 15_000;

const AWAY =
  'The server is away. Your message is kept: it can be sent when the server is back.';
const LOGIN =
  'The server is back, but it does not know this page. Reload the page: your message is kept.';
const RETURNED = 'The server is back.';
const RETURNED_KEPT = 'The server is back. Your message was not sent yet: send it now.';

/** The hub's page that starts this server; empty without a hub. */
function startUrl(): string {
  const prefix = PageConfig.getOption('hubPrefix');
  const user = PageConfig.getOption('hubUser');
  return prefix && user ? URLExt.join(prefix, 'spawn', user) : '';
}

/** Watches the connection of one chat. */
class Watch {
  constructor(private _chat: IChatPanel) {
    this._widget = new Widget();
    this._widget.addClass('jp-Caesarion-connection');
    this._widget.node.setAttribute('role', 'status');
    this._widget.hide();
    addToInputBar(_chat, this._widget);
    this._guard();
    this._insist();
    const timer = window.setInterval(() => this._look(), EVERY);
    const online = (): void => this._look();
    window.addEventListener('offline', online);
    _chat.disposed.connect(() => {
      window.clearInterval(timer);
      window.removeEventListener('offline', online);
    });
  }

  /** Refuse to send while the connection is lost, and keep what was typed. */
  private _guard(): void {
    const { model } = this._chat;
    const { input } = model;
    const sendInput = input.send.bind(input);
    const sendMessage = model.sendMessage.bind(model);
    input.send = body => {
      if (this._lost()) {
        this._refuse();
      } else {
        sendInput(body);
        this._show('');
        window.localStorage.removeItem(this._key);
      }
    };
    model.sendMessage = message => {
      if (this._lost()) {
        this._refuse();
        return null;
      }
      return sendMessage(message);
    };
    input.valueChanged.connect((_, value) => {
      if (value.trim() === '') {
        window.localStorage.removeItem(this._key);
      } else if (this._away) {
        window.localStorage.setItem(this._key, value);
      }
    });
  }

  /** Keep the chat from giving its server up if its first connection fails. */
  private _insist(): void {
    const { model } = this._chat;
    const socket = model._wsHandler?._socket;
    if (!socket || model.id !== undefined) {
      return;
    }
    const { onclose } = socket;
    socket.onclose = event => {
      // Other codes are the server's own reasons, which the chat shows.
      this._failed = event.code === 1006 && model.id === undefined;
      if (!this._failed) {
        onclose?.call(socket, event);
      }
    };
  }

  /** The key of the kept message; a chat that is being created has a path, but no id yet. */
  private get _key(): string {
    const { baseUrl } = ServerConnection.makeSettings();
    return `caesarion:kept:${baseUrl}:${this._chat.model.name}`;
  }

  /** Restore the kept message; it stays stored, as a chat may be drawn twice. */
  private _restore(): void {
    const { input } = this._chat.model;
    const kept = window.localStorage.getItem(this._key);
    if (kept && !input.value) {
      input.value = kept;
    }
  }

  /** Whether a message would be lost; before the first connection the chat cannot be used. */
  private _lost(): boolean {
    const socket = this._chat.model._wsHandler?._socket;
    return socket ? socket.readyState !== WebSocket.OPEN || !navigator.onLine : false;
  }

  private _refuse(): void {
    this._away = true;
    this._show(this._told || AWAY);
    // Draws attention to the notice where it is shown already.
    this._widget.node.classList.remove('jp-Caesarion-connectionFlash');
    void this._widget.node.offsetWidth;
    this._widget.node.classList.add('jp-Caesarion-connectionFlash');
  }

  private _look(): void {
    if (!this._restored && this._chat.model.id !== undefined) {
      this._restored = true;
      this._restore();
    }
    const lost = this._lost() && (this._failed || this._chat.model.id !== undefined);
    if (lost && !this._away) {
      this._away = true;
      this._asked = Date.now();
      this._show(AWAY);
    } else if (!lost && this._away) {
      this._away = false;
      this._told = '';
      const kept = this._chat.model.input.value.trim() !== '';
      this._show(kept ? RETURNED_KEPT : RETURNED);
      window.setTimeout(() => {
        if (!this._away) {
          this._show('');
        }
      }, BACK);
    }
    void this._reopen();
  }

  /** Ask the server at intervals; open the socket again if it answers, or show why not. */
  private async _reopen(): Promise<void> {
    const handler = this._chat.model._wsHandler;
    if (!handler || !this._away || Date.now() - this._asked < PAUSE) {
      return;
    }
    this._asked = Date.now();
    const socket = handler._socket;
    try {
      const settings = ServerConnection.makeSettings();
      const url = URLExt.join(settings.baseUrl, 'caesarion/api/status');
      const answer = await ServerConnection.makeRequest(url, {}, settings);
      const shut = socket?.readyState === WebSocket.CLOSED;
      if (answer.ok && shut && handler._socket === socket && !this._chat.isDisposed) {
        handler._openSocket();
        this._insist();
      } else if ([401, 403].includes(answer.status) && this._away) {
        // A restarted server does not know this page's token.
        this._told = LOGIN;
        this._show(LOGIN);
      }
    } catch {
      // Still away.
    }
  }

  private _show(sentence: string): void {
    const { node } = this._widget;
    if (node.dataset.sentence === sentence) {
      return;
    }
    node.dataset.sentence = sentence;
    node.classList.toggle('jp-Caesarion-connectionRestored', sentence.startsWith(RETURNED));
    node.textContent = sentence;
    const start = startUrl();
    if (sentence === AWAY && start) {
      const link = document.createElement('a');
      link.href = start;
      link.target = '_blank';
      link.rel = 'noopener';
      link.textContent = 'Start it';
      node.append(' ', link);
    }
    this._widget.setHidden(sentence === '');
  }

  private readonly _widget: Widget;
  private _restored = false;
  /** Whether the first connection has failed, and none was made yet. */
  private _failed = false;
  private _away = false;
  private _told = '';
  /** When the server was last asked, in milliseconds. */
  private _asked = 0;
}

export const connection: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:connection',
  description: 'Says when the chat has lost its server, and keeps what was not sent.',
  autoStart: true,
  optional: [IChatTracker],
  activate: (_app, chats: IChatTracker | null) => {
    const watch = (chat: IChatPanel): void => {
      new Watch(chat);
    };
    chats?.forEach(watch);
    chats?.widgetAdded.connect((_, chat) => watch(chat));
  }
};
