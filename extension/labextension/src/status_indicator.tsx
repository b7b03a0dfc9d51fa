/**
 * The status indicator, at the end of the bar above the input: whether the server, the
 * gateway with its model, and the kernel of the chat are ready, and the chat is saved. If not,
 * it says what is wrong and what to do, before a question is sent.
 */

import {
  IChatTracker,
  type IChatModel,
  type IChatPanel
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import { PathExt, URLExt } from '@jupyterlab/coreutils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ServerConnection } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { addToInputBar } from './input_bar';

/** Milliseconds between two looks at the server, of a page that is seen. */
const EVERY = 20_000;

/** The same while something is wrong. */
const SOON = 5_000;

/** Milliseconds that a look waits for others, so that a busy chat is not a busy server. */
const PAUSE = 500;

type State = 'starting' | 'ready' | 'busy' | 'failed';

/** What `GET caesarion/api/status` tells of here. */
interface IStatus {
  model: string;
  problem: string;
  chat_problem: string;
  kernel: { id: string; state: State } | null;
}

/** What the light shows: a word, and for who looks closer a line on each part. */
interface IShown {
  state: State;
  word: string;
  lines: string[];
}

/** The states of a notebook's kernel in JupyterLab's words; all others are passing. */
const STATES: Record<string, State> = {
  idle: 'ready',
  connected: 'ready',
  busy: 'busy',
  dead: 'failed',
  starting: 'starting',
  restarting: 'starting',
  autorestarting: 'starting',
  initializing: 'starting'
};

const KERNEL: Record<State, string> = {
  starting: 'is starting: code waits until it is ready.',
  ready: 'is ready.',
  busy: 'is busy: code of the agent waits until it is free.',
  failed: 'died: the next code starts a new one, and its variables are gone.'
};

const WORDS: Record<State, string> = {
  starting: 'Starting',
  ready: 'Ready',
  busy: 'Busy',
  failed: 'Kernel died'
};

/** The state of one chat, looked at gently. */
class Status {
  constructor(
    private _chat: IChatPanel,
    private _notebooks: INotebookTracker | null
  ) {
    const model: IChatModel = _chat.model;
    const look = (): void => this._lookIn(PAUSE);
    const onVisible = (): void => this._lookIn(0);
    document.addEventListener('visibilitychange', onVisible);
    model.input.metadataChanged.connect(look);
    model.writersChanged.connect(look);
    _chat.disposed.connect(() => {
      document.removeEventListener('visibilitychange', onVisible);
      window.clearTimeout(this._timer);
      Signal.clearData(this);
    });
    this._lookIn(0);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get shown(): IShown {
    if (this._away) {
      return {
        state: 'failed',
        word: 'Server away',
        lines: [
          'The server does not answer. Wait a moment; if it stays so, start it again.'
        ]
      };
    }
    const status = this._status;
    if (!status) {
      return { state: 'starting', word: 'Looking', lines: ['Looking ...'] };
    }
    const [kernel, told] = this._kernel(status);
    const { problem, chat_problem: unsaved } = status;
    const lines = [
      `Model: ${problem || `${status.model} answers.`}`,
      `Kernel: ${told}`
    ];
    if (unsaved) {
      return { state: 'failed', word: 'Not saved', lines: [unsaved, ...lines] };
    }
    return {
      state: problem ? 'failed' : kernel,
      word: problem ? 'No model' : WORDS[kernel],
      lines
    };
  }

  /** The state of the kernel that a question would use, and a sentence on it. */
  private _kernel(status: IStatus): [State, string] {
    const asked = this._kernelId;
    const panel = asked ? this._panelOf(asked) : undefined;
    if (panel && (!status.kernel || status.kernel.id === asked)) {
      // The lab hears of it from the kernel itself.
      const context = panel.sessionContext;
      const state = STATES[context.kernelDisplayStatus] ?? 'starting';
      const name = PathExt.basename(panel.context.localPath);
      return [state, `that of ${name} ${KERNEL[state]}`];
    }
    if (!status.kernel) {
      return ['ready', 'none runs yet; the first code starts one.'];
    }
    const { state } = status.kernel;
    return [state, `that of this chat ${KERNEL[state]}`];
  }

  private get _kernelId(): string | undefined {
    const id = this._chat.model.input.getMetadata()['kernel_id'];
    return typeof id === 'string' ? id : undefined;
  }

  private _panelOf(kernelId: string): NotebookPanel | undefined {
    return this._notebooks?.find(
      panel => panel.sessionContext.session?.kernel?.id === kernelId
    );
  }

  private _lookIn(milliseconds: number): void {
    if (document.hidden) {
      return; // Whoever comes back to the page lets it look.
    }
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._look(), milliseconds);
  }

  private async _look(): Promise<void> {
    if (document.hidden) {
      return;
    }
    const kernelId = this._kernelId;
    const panel = kernelId ? this._panelOf(kernelId) : undefined;
    panel?.sessionContext.statusChanged.connect(this._emit, this);
    const settings = ServerConnection.makeSettings();
    const query: Record<string, string> = {};
    if (kernelId) {
      query['kernel_id'] = kernelId;
    }
    if (this._chat.model.id) {
      query['chat_id'] = this._chat.model.id;
    }
    const url =
      URLExt.join(settings.baseUrl, 'caesarion/api/status') +
      URLExt.objectToQueryString(query);
    try {
      const init: RequestInit = { cache: 'no-cache' };
      const answer = await ServerConnection.makeRequest(url, init, settings);
      this._away = !answer.ok;
      if (answer.ok) {
        this._status = (await answer.json()) as IStatus;
      }
    } catch {
      this._away = true;
    }
    if (!this._chat.isDisposed) {
      this._emit();
      const { state } = this.shown;
      this._lookIn(state === 'ready' || state === 'busy' ? EVERY : SOON);
    }
  }

  private _emit(): void {
    this._changed.emit();
  }

  private _status: IStatus | null = null;
  private _away = false;
  private _timer = 0;
  private _changed = new Signal<this, void>(this);
}

function StatusButton({ shown, id }: { shown: IShown; id: string }): JSX.Element {
  return (
    <>
      <button
        type="button"
        className="jp-Caesarion-statusButton"
        data-state={shown.state}
        aria-describedby={id}
        onClick={event => event.stopPropagation()}
      >
        <span className="jp-Caesarion-statusDot" aria-hidden="true" />
        <span className="jp-Caesarion-statusLabel">{shown.word}</span>
      </button>
      <div className="jp-Caesarion-statusTooltip" id={id} role="tooltip">
        {shown.lines.map(line => (
          <div key={line}>{line}</div>
        ))}
      </div>
      <span className="jp-Caesarion-statusAlert" role="alert">
        {shown.state === 'failed' ? shown.word : ''}
      </span>
    </>
  );
}

class StatusWidget extends ReactWidget {
  constructor(private _status: Status) {
    super();
    this.addClass('jp-Caesarion-status');
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this._status.changed}>
        {() => <StatusButton shown={this._status.shown} id={`${this.id}-tooltip`} />}
      </UseSignal>
    );
  }
}

let widgets = 0;

export const statusIndicator: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:status-indicator',
  description: 'Shows in the chat whether model and kernel are ready.',
  autoStart: true,
  optional: [IChatTracker, INotebookTracker],
  activate: (
    _app,
    chats: IChatTracker | null,
    notebooks: INotebookTracker | null
  ) => {
    const open = (chat: IChatPanel): void => {
      const widget = new StatusWidget(new Status(chat, notebooks));
      widget.id = `jp-Caesarion-status-${widgets++}`;
      addToInputBar(chat, widget);
    };
    chats?.forEach(open);
    chats?.widgetAdded.connect((_, chat) => open(chat));
  }
};
