/**
 * A conversation as a notebook: saved, and run again from top to bottom in a
 * fresh kernel. The server does both (docs/http.md); here are the chat's buttons,
 * the commands, how far a run is above the chat's input, and its end.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import {
  ICommandPalette,
  Notification,
  ReactWidget,
  ToolbarButton,
  UseSignal
} from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { ServerConnection } from '@jupyterlab/services';
import { fastForwardIcon, notebookIcon } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { addToInputBar } from './input_bar';

const SAVE = 'caesarion:save-chat-as-notebook';
const RUN = 'caesarion:run-chat-as-notebook';
const SAVE_LABEL = 'Save as notebook';
const RUN_LABEL = 'Save as notebook and run from top to bottom';

/** A line of a run's progress, or its end. */
interface ILine {
  cell?: number;
  of?: number;
  status?: 'ok' | 'error';
  message?: string;
}

const AWAY =
  'The server does not answer. Try again when the lab is connected again.';

async function post(
  call: string,
  body: object,
  signal?: AbortSignal
): Promise<Response> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, 'caesarion/api', call);
  const init: RequestInit = { method: 'POST', body: JSON.stringify(body) };
  let answer: Response;
  try {
    answer = await ServerConnection.makeRequest(
      url,
      signal ? { ...init, signal } : init,
      settings
    );
  } catch (error) {
    throw signal?.aborted ? error : new Error(AWAY);
  }
  if (!answer.ok) {
    const told = (await answer.json().catch(() => null)) as ILine | null;
    throw new Error(told?.message ?? `The server says ${answer.status}.`);
  }
  return answer;
}

/** The lines of an answer that comes line by line. */
async function* lines(answer: Response): AsyncGenerator<ILine> {
  const reader = answer
    .body!.pipeThrough(new TextDecoderStream())
    .getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    const whole = (rest + (value ?? '')).split('\n');
    rest = whole.pop() ?? '';
    for (const line of whole) {
      yield JSON.parse(line) as ILine;
    }
    if (done) {
      return;
    }
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What became of a chat: where the notebook is, and the kernel that its code ran in. */
interface ISaved {
  path: string;
  kernel_id: string | null;
}

/** A run that is under way, as the chat shows it above its input. */
interface IRun {
  path: string;
  /** The code cell that runs, from 1; 0 while the kernel starts. */
  cell: number;
  of: number;
  stop: () => void;
}

/** One chat as a notebook. */
class Notebook {
  constructor(
    private _chat: IChatPanel,
    private _documents: IDocumentManager
  ) {}

  get run(): IRun | null {
    return this._run;
  }

  get changed(): ISignal<Notebook, void> {
    return this._changed;
  }

  /** Save the chat, and open what it became. */
  async save(): Promise<void> {
    try {
      this._open(await this._save());
    } catch (error) {
      Notification.error(sentence(error));
    }
  }

  /** Save the chat, run what it became in a fresh kernel, and open it. */
  async saveAndRun(): Promise<void> {
    if (this._run) {
      return;
    }
    const controller = new AbortController();
    const stop = (): void => controller.abort();
    this._show({ path: '', cell: 0, of: 0, stop });
    try {
      const saved = await this._save();
      this._show({ path: saved.path, cell: 0, of: 0, stop });
      await this._follow(saved, controller.signal, stop);
    } catch (error) {
      Notification.error(sentence(error), { autoClose: false });
    } finally {
      this._show(null);
    }
  }

  private async _follow(
    saved: ISaved,
    signal: AbortSignal,
    stop: () => void
  ): Promise<void> {
    const { path } = saved;
    let end: ILine = {};
    try {
      const answer = await post('notebooks/run', { path }, signal);
      for await (const line of lines(answer)) {
        end = line;
        if (line.cell && line.of) {
          this._show({ path, cell: line.cell, of: line.of, stop });
        }
      }
    } catch (error) {
      if (!signal.aborted) {
        throw error;
      }
      Notification.warning(
        `The run was stopped. ${path} has the outputs of the conversation.`,
        {
          autoClose: 10000,
          actions: [{ label: 'Open', callback: () => this._open(saved) }]
        }
      );
      return;
    }
    this._open(saved);
    if (end.status === 'ok') {
      Notification.success(`${path} ran from top to bottom.`, {
        autoClose: 5000
      });
    } else {
      Notification.error(`${path}: ${end.message ?? AWAY}`, {
        autoClose: false
      });
    }
  }

  private async _save(): Promise<ISaved> {
    const answer = await post('notebooks', { chat: this._chat.model.name });
    return (await answer.json()) as ISaved;
  }

  /** Open a notebook on the conversation's kernel: what the code made is there. */
  private _open({ path, kernel_id }: ISaved): void {
    const beside = { mode: 'split-right', ref: this._chat.id } as const;
    this._documents.openOrReveal(
      path,
      'default',
      kernel_id ? { id: kernel_id } : undefined,
      this._chat.area === 'main' ? beside : {}
    );
  }

  private _show(run: IRun | null): void {
    this._run = run;
    this._changed.emit();
  }

  private _run: IRun | null = null;
  private _changed = new Signal<this, void>(this);
}

function Progress(props: { notebook: Notebook }): JSX.Element {
  const { notebook } = props;
  return (
    <UseSignal signal={notebook.changed}>
      {() => {
        const { run } = notebook;
        if (!run) {
          return <></>;
        }
        const { path, cell, of } = run;
        return (
          <span className="jp-Caesarion-run">
            <progress
              aria-label="The run from top to bottom"
              max={of || 1}
              value={Math.max(0, cell - 1)}
            />
            <span className="jp-Caesarion-runProgress" role="status" title={path}>
              {cell
                ? `Running ${path}: cell ${cell} of ${of}`
                : `Starting a kernel for ${path}`}
            </span>
            <button type="button" onClick={run.stop}>
              Stop the run
            </button>
          </span>
        );
      }}
    </UseSignal>
  );
}

const opened = new WeakMap<IChatPanel, Notebook>();

function addButtons(chat: IChatPanel, documents: IDocumentManager): void {
  const notebook = new Notebook(chat, documents);
  opened.set(chat, notebook);
  addToInputBar(chat, ReactWidget.create(<Progress notebook={notebook} />));
  const buttons = {
    [SAVE]: new ToolbarButton({
      icon: notebookIcon,
      tooltip: SAVE_LABEL,
      onClick: () => void notebook.save()
    }),
    [RUN]: new ToolbarButton({
      icon: fastForwardIcon,
      tooltip: RUN_LABEL,
      onClick: () => void notebook.saveAndRun()
    })
  };
  for (const [name, button] of Object.entries(buttons)) {
    // In the side panel the way out stays last.
    if (!chat.toolbar.insertBefore('close', name, button)) {
      chat.toolbar.addItem(name, button);
    }
  }
}

export const notebooks: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:notebooks',
  description:
    'Saves a chat as a notebook, and runs that from top to bottom in a fresh kernel.',
  autoStart: true,
  requires: [IDocumentManager],
  optional: [IChatTracker, ICommandPalette],
  activate: (
    app,
    documents: IDocumentManager,
    chats: IChatTracker | null,
    palette: ICommandPalette | null
  ) => {
    if (!chats) {
      return;
    }
    const commands = {
      [SAVE]: { label: SAVE_LABEL, does: 'save' },
      [RUN]: { label: RUN_LABEL, does: 'saveAndRun' }
    } as const;
    for (const [command, { label, does }] of Object.entries(commands)) {
      app.commands.addCommand(command, {
        label: `Chat: ${label}`,
        isEnabled: () => chats.currentWidget !== null,
        execute: async () => {
          const chat = chats.currentWidget;
          await (chat && opened.get(chat)?.[does]());
        }
      });
      palette?.addItem({ command, category: 'Chat' });
    }
    const add = (chat: IChatPanel): void => addButtons(chat, documents);
    chats.forEach(add);
    chats.widgetAdded.connect((_, chat) => add(chat));
  }
};
