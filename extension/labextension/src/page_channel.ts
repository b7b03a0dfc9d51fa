/**
 * The channel between this page and the server's agent: a WebSocket, over which the page
 * tells which notebooks it has open, the server asks it to read and change them, and tells which
 * changes are proposed. Used by open_notebooks.ts; the other end is api/page.py.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { UUID } from '@lumino/coreutils';

import { NotebookError, type IOperation } from './notebook_model';
import type { IRun } from './run_client';

/** Milliseconds until a lost connection is tried again: at first, and at most. */
const FIRST_PAUSE = 500;
const LAST_PAUSE = 15_000;

const KEY = 'caesarion:page';

/**
 * The id of this tab. A reload keeps it, so that the server finds the page again that it was
 * talking to; a copy of the tab gets another, as the id lies in the storage only in between.
 */
export const PAGE_ID = (() => {
  const id = window.sessionStorage.getItem(KEY) ?? UUID.uuid4();
  window.sessionStorage.removeItem(KEY);
  window.addEventListener('pagehide', () => window.sessionStorage.setItem(KEY, id));
  window.addEventListener('pageshow', () => window.sessionStorage.removeItem(KEY));
  return id;
})();

/** A change of the agent that is not settled yet. */
export interface IChange {
  readonly id: string;
  /** What the decision about a proposed change is sent to; null once it is applied. */
  readonly approval_id: string | null;
  readonly state: 'proposed' | 'applied';
  readonly operation: IOperation;
  /** The source before the change, if there was one. */
  readonly before: string | null;
  /** The cell that a deleted one was below; null for the first. */
  readonly above?: string | null;
  readonly why: string;
  readonly chat: { readonly id: string; readonly path: string };
  readonly message: string;
  /** The page that asked; empty if it was none. */
  readonly page: string;
}

/** The changes of one notebook: all there are. */
export interface IChangeList {
  readonly path: string;
  readonly changes: readonly IChange[];
}

export type Method = (params: Record<string, unknown>) => unknown;

interface IRequest {
  readonly type: 'request';
  readonly id: number;
  readonly method: string;
  readonly params: Record<string, unknown>;
}

type Frame =
  | IRequest
  | ({ readonly type: 'changes' } & IChangeList)
  | { readonly type: 'run'; readonly run: IRun };

/** The WebSocket, opened again whenever it is lost; a server that is gone has no more changes. */
export class PageChannel {
  constructor(
    private readonly _methods: Record<string, Method>,
    private readonly _heard: (list: IChangeList) => void,
    /** Takes a run that has changed; null says that the connection is there, and all may have. */
    private readonly _heardOfRun: (run: IRun | null) => void,
    private readonly _forgotten: () => void
  ) {
    window.addEventListener('online', () => void this._reopen());
    this._open();
  }

  /** Tell which notebooks are open; the last word is repeated to a server that comes back. */
  announce(open: string[], front: string | null): void {
    const said = JSON.stringify({ type: 'notebooks', page: PAGE_ID, open, front });
    if (said !== this._said) {
      this._said = said;
      this._send(said);
    }
  }

  private _open(): void {
    // By the session's cookie alone: the server takes no page that comes with a token, since
    // code in a kernel has one.
    const { wsUrl } = ServerConnection.makeSettings({ token: '' });
    const socket = new WebSocket(URLExt.join(wsUrl, 'caesarion/api/page'));
    this._socket = socket;
    socket.onopen = () => {
      this._pause = FIRST_PAUSE;
      this._send(this._said);
      this._heardOfRun(null);
    };
    socket.onmessage = event => void this._receive(socket, event.data as string);
    socket.onclose = () => this._wait();
  }

  private _wait(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._reopen(), this._pause);
    this._pause = Math.min(LAST_PAUSE, this._pause * 2);
  }

  /** Open the socket when the server answers: one that cannot be opened fills the console. */
  private async _reopen(): Promise<void> {
    const lost = this._socket;
    if (lost && lost.readyState < WebSocket.CLOSING) {
      return;
    }
    const settings = ServerConnection.makeSettings({ token: '' });
    const url = URLExt.join(settings.baseUrl, 'caesarion/api/status');
    const answer = await ServerConnection.makeRequest(url, {}, settings).catch(() => null);
    if (this._socket !== lost) {
      return;
    }
    if (answer?.ok) {
      this._open();
      return;
    }
    if (answer && [401, 403].includes(answer.status)) {
      // Another server than before, which does not know this page until it is loaded again.
      this._forgotten();
    }
    this._wait();
  }

  private _send(frame: string): void {
    if (frame && this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(frame);
    }
  }

  private async _receive(socket: WebSocket, data: string): Promise<void> {
    const frame = JSON.parse(data) as Frame;
    if (frame.type === 'changes') {
      this._heard(frame);
      return;
    }
    if (frame.type === 'run') {
      this._heardOfRun(frame.run);
      return;
    }
    const reply = JSON.stringify({ type: 'reply', id: frame.id, ...(await this._do(frame)) });
    // An answer to a server that is gone would confuse the one that came after it.
    if (socket.readyState === WebSocket.OPEN) {
      socket.send(reply);
    }
  }

  private async _do({ method, params }: IRequest): Promise<{ result?: unknown; error?: unknown }> {
    try {
      const act = this._methods[method];
      if (!act) {
        throw new NotebookError('failed', `This page knows no method ${method}. Reload it.`);
      }
      return { result: await act(params) };
    } catch (error) {
      const { code, message, source } =
        error instanceof NotebookError
          ? error
          : { code: 'failed', message: String(error), source: undefined };
      return { error: { code, message, source } };
    }
  }

  private _socket: WebSocket | null = null;
  private _said = '';
  private _pause = FIRST_PAUSE;
  private _timer = 0;
}
