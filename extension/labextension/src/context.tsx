/**
 * What goes along with a message: the notebook in front and its kernel, the
 * selected cell, and the variables that are named. context_chips.tsx shows it above
 * the input; each can be left out. The server finds it in the message's metadata.
 */

import {
  IChatCommandRegistry,
  IChatTracker,
  type IChatPanel,
  type IInputModel
} from '@jupyter/chat';
import { ILabShell, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Cell } from '@jupyterlab/cells';
import { PathExt } from '@jupyterlab/coreutils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import {
  bugIcon,
  notebookIcon,
  numberingIcon,
  variableIcon
} from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';

import { Chips, type IChip } from './context_chips';
import { addToInputBar } from './input_bar';
import { metadataOf, newTraceparent } from './message_metadata';
import { describeCell, pythonKernel, type ICellError } from './notebook_stamp';
import { PAGE_ID } from './page_channel';
import {
  mentions,
  unmentioned,
  VariableCompletion,
  Variables,
  type Where
} from './variables';

/** What was pressed at code that failed. */
export type Intent = 'fix' | 'explain' | 'ask';

/** What a message is about: a cell of a notebook, with an error of it, or a call of the chat. */
export interface ISubject {
  panel?: NotebookPanel;
  cell?: Cell;
  error?: ICellError | undefined;
  /** A call of the chat, by its id and what is shown of it. */
  call?: { id: string; shown: string };
}

/** What goes along with the next message of one chat. */
class Context {
  constructor(
    private _chat: IChatPanel,
    private _notebooks: INotebookTracker,
    private _variables: Variables
  ) {
    const { input } = _chat.model;
    input.valueChanged.connect(() => this._textChanged());
    // Whoever comes to type has perhaps selected something else meanwhile.
    _chat.node.addEventListener('focusin', () => this.refresh());
    this.refresh();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The kernel that @ is about. */
  get where(): Where | null {
    const kernel = pythonKernel(this._sent());
    const chat = this._chat.model.id;
    return kernel ? { kernel_id: kernel } : chat ? { chat_id: chat } : null;
  }

  get chips(): IChip[] {
    const { input } = this._chat.model;
    const chips: IChip[] = [];
    const panel = this._notebook;
    if (panel) {
      const path = panel.context.localPath;
      chips.push({
        key: 'notebook',
        icon: notebookIcon,
        label: PathExt.basename(path),
        what: pythonKernel(panel)
          ? `the notebook ${path}, in whose kernel the code runs`
          : `the notebook ${path}`,
        on: !this._without.has('notebook'),
        toggle: () => this._toggle('notebook')
      });
    }
    const cell = this._cell();
    if (cell) {
      const { number, selection, execution_count } = describeCell(panel!, cell);
      const run = execution_count ? ` [${execution_count}]` : '';
      chips.push({
        key: 'cell',
        icon: numberingIcon,
        label: selection ? `Selection in cell ${number}` : `Cell ${number}${run}`,
        what: selection
          ? `what is selected in cell ${number}, and the cell`
          : `the text of the selected cell, number ${number}`,
        on: !this._without.has('cell'),
        toggle: () => this._toggle('cell')
      });
    }
    const { error, call } = this._subject ?? {};
    if (error || call) {
      chips.push({
        key: 'error',
        icon: bugIcon,
        label: error?.name || 'Error',
        what: error
          ? 'the error of this cell, and digests of the variables that it names'
          : 'code of this chat that failed, and its error',
        on: true,
        toggle: () => this._forget()
      });
    }
    for (const name of this._names()) {
      chips.push({
        key: `@${name}`,
        icon: variableIcon,
        label: `@${name}`,
        what: `a digest of the variable ${name}: type, size, first values`,
        on: true,
        toggle: () => {
          input.value = unmentioned(input.value, name);
          input.focus();
        }
      });
    }
    return chips;
  }

  /** Look again at what is in front, and stamp it. */
  refresh(): void {
    const panel = this._notebookInFront();
    if (panel !== this._notebook) {
      this._notebook = panel;
      this._without.clear();
    }
    const cell = this._subject?.cell;
    if (cell && (cell.isDisposed || !panel?.content.widgets.includes(cell))) {
      this._subject = null;
    }
    this._stamp();
  }

  /** Send `subject` along with the next message, instead of the selected cell. */
  askAbout(subject: ISubject): void {
    this._without.delete('notebook');
    this._without.delete('cell');
    this._subject = subject;
    this.refresh();
  }

  /** The metadata of a message that is about `subject`, whatever goes along with the next one. */
  metadataAbout(subject: ISubject, intent: Intent): Record<string, unknown> {
    this.refresh();
    const { panel, cell, error, call } = subject;
    return {
      ...metadataOf(this._chat.model.input),
      ...(panel && {
        notebook_path: panel.context.localPath,
        kernel_id: pythonKernel(panel)
      }),
      cell: panel && cell ? describeCell(panel, cell) : undefined,
      variables: undefined,
      intent,
      error,
      call
    };
  }

  /** Stamp what is true at the moment of sending. */
  async submit(): Promise<void> {
    const { where } = this;
    if (where && mentions(this._chat.model.input.value).length) {
      await this._variables.of(where);
    }
    this.refresh();
    this._chat.model.input.updateMetadata({ traceparent: newTraceparent() });
    this._submitted = true;
  }

  /**
   * The notebook in front of who types into the chat: the one last used, if it can be
   * seen. A chat in the main area may itself cover the notebook it is about.
   */
  private _notebookInFront(): NotebookPanel | null {
    const panel = this._notebooks.currentWidget;
    return panel?.isVisible || this._chat.area === 'main' ? panel : null;
  }

  /** The notebook that goes along, if it is not left out. */
  private _sent(): NotebookPanel | null {
    return this._without.has('notebook') ? null : this._notebook;
  }

  /** The cell that goes along: the one asked about, else the selected one with anything in it. */
  private _cell(): Cell | null {
    const { cell, call } = this._subject ?? {};
    const panel = this._sent();
    if (!panel || cell || call) {
      return (panel && cell) || null;
    }
    const { activeCell } = panel.content;
    return activeCell?.model.sharedModel.getSource().trim() ? activeCell : null;
  }

  private _names(): string[] {
    const { where } = this;
    return where ? this._variables.in(this._chat.model.input.value, where) : [];
  }

  private _stamp(): void {
    const { input } = this._chat.model;
    const panel = this._sent();
    const cell = this._without.has('cell') ? null : this._cell();
    const { error, call } = this._subject ?? {};
    const names = this._names();
    // Every key is always there, so that a stamp wipes out the one before.
    const now: Record<string, unknown> = {
      notebook_path: panel?.context.localPath,
      notebook_page: PAGE_ID,
      kernel_id: pythonKernel(panel),
      cell: cell ? describeCell(panel!, cell) : undefined,
      variables: names.length ? names : undefined,
      intent: this._subject ? 'ask' : undefined,
      error: cell ? error : undefined,
      call
    };
    const was = input.getMetadata();
    const same = Object.keys(now).every(
      key => JSON.stringify(was[key]) === JSON.stringify(now[key])
    );
    if (!same) {
      input.updateMetadata(now);
    }
    this._changed.emit();
  }

  private _forget(): void {
    this._subject = null;
    this._stamp();
  }

  private _toggle(key: string): void {
    if (!this._without.delete(key)) {
      this._without.add(key);
    }
    this._stamp();
  }

  private _textChanged(): void {
    const { where } = this;
    // The input is emptied when its message is sent, and keeps what could not be sent.
    if (this._submitted && this._chat.model.input.value === '') {
      this._subject = null;
    }
    this._submitted = false;
    if (where && this._chat.model.input.value.includes('@')) {
      this._variables.of(where).then(
        () => this._stamp(),
        () => undefined
      );
    }
    this._stamp();
  }

  private _notebook: NotebookPanel | null = null;
  /** What its user has left out, by the chip's key, until another notebook comes. */
  private _without = new Set<string>();
  /** What its user asks about, until the message is sent. */
  private _subject: ISubject | null = null;
  private _submitted = false;
  private _changed = new Signal<this, void>(this);
}

const contexts = new Map<IChatPanel, Context>();

/** What goes along with the next message of `chat`. */
export function contextOf(chat: IChatPanel): Context | undefined {
  return contexts.get(chat);
}

/** Keep the stamp of every open chat true for as long as the lab runs. */
function stampChats(
  chats: IChatTracker,
  notebooks: INotebookTracker,
  shell: ILabShell | null,
  commands: IChatCommandRegistry | null
): void {
  const variables = new Variables();
  const refreshAll = (): void =>
    contexts.forEach(context => context.refresh());
  const open = (chat: IChatPanel): void => {
    const context = new Context(chat, notebooks, variables);
    contexts.set(chat, context);
    chat.disposed.connect(() => contexts.delete(chat));
    addToInputBar(chat, new Chips(context));
  };
  const of = (input: IInputModel): Context | undefined =>
    [...contexts].find(([chat]) => chat.model.input === input)?.[1];
  const follow = (panel: NotebookPanel): void => {
    panel.context.pathChanged.connect(refreshAll);
    panel.sessionContext.kernelChanged.connect(refreshAll);
    panel.sessionContext.sessionChanged.connect(refreshAll);
  };

  notebooks.forEach(follow);
  notebooks.widgetAdded.connect((_, panel) => follow(panel));
  notebooks.currentChanged.connect(refreshAll);
  notebooks.activeCellChanged.connect((_, cell) => {
    cell?.model.stateChanged.connect(refreshAll);
    refreshAll();
  });
  // Tabs that hide or show a notebook change the layout, not the tracker.
  shell?.layoutModified.connect(refreshAll);
  chats.forEach(open);
  chats.widgetAdded.connect((_, chat) => open(chat));
  commands?.addProvider(
    new VariableCompletion(
      variables,
      input => of(input)?.where ?? null,
      async input => of(input)?.submit()
    )
  );
}

export const context: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:context',
  description:
    'Sends the notebook in front, the selected cell and named variables along with a message.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [IChatTracker, ILabShell, IChatCommandRegistry],
  activate: (
    _app,
    notebooks: INotebookTracker,
    chats: IChatTracker | null,
    shell: ILabShell | null,
    commands: IChatCommandRegistry | null
  ) => {
    if (chats) {
      stampChats(chats, notebooks, shell, commands);
    }
  }
};
