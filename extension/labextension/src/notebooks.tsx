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
import { IDocumentManager } from '@jupyterlab/docmanager';
import { fastForwardIcon, notebookIcon } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { addToInputBar } from './input_bar';
import { AWAY, cancelRun, followed, post, runEvents, type IRun } from './run_client';

const SAVE = 'caesarion:save-chat-as-notebook';
const RUN = 'caesarion:run-chat-as-notebook';
const SAVE_LABEL = 'Save as notebook';
const RUN_LABEL = 'Save as notebook and run from top to bottom';

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What became of a chat: where the notebook is, and the kernel that its code ran in. */
interface ISaved {
  path: string;
  kernel_id: string | null;
}

/** A run that is under way, as the chat shows it above its input. */
interface IProgress {
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

  get run(): IProgress | null {
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
    this._show({ path: '', cell: 0, of: 0, stop: () => undefined });
    try {
      const saved = await this._save();
      await this._follow(saved);
    } catch (error) {
      Notification.error(sentence(error), { autoClose: false });
    } finally {
      this._show(null);
    }
  }

  /** Run what was saved, which goes on when this page is closed, and say how it ended. */
  private async _follow(saved: ISaved): Promise<void> {
    const { path } = saved;
    const { id } = await post<IRun>('runs', { kind: 'notebook', path });
    followed.add(id);
    const stop = (): void => void cancelRun(id);
    this._show({ path, cell: 0, of: 0, stop });
    let end: Partial<IRun> = {};
    for await (const { name, data } of runEvents(id)) {
      if (name === 'cell') {
        this._show({ path, cell: Number(data.cell), of: Number(data.of), stop });
      } else if (name === 'status') {
        end = data as Partial<IRun>;
      }
    }
    if (end.status === 'cancelled') {
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
    if (end.status === 'completed') {
      Notification.success(`${path} ran from top to bottom.`, {
        autoClose: 5000
      });
    } else {
      Notification.error(`${path}: ${end.error?.message ?? AWAY}`, {
        autoClose: false
      });
    }
  }

  private async _save(): Promise<ISaved> {
    return post<ISaved>('notebooks', { chat: this._chat.model.name });
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

  private _show(run: IProgress | null): void {
    this._run = run;
    this._changed.emit();
  }

  private _run: IProgress | null = null;
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
