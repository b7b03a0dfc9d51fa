/**
 * What goes along with a message: the notebook in front and its kernel, the
 * selected cell, and the variables that are named. Chips above the input show it;
 * each can be left out. The server finds it in the message's metadata.
 */

import {
  IChatCommandRegistry,
  IChatTracker,
  type IChatPanel,
  type IInputModel
} from '@jupyter/chat';
import { ILabShell, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { PathExt } from '@jupyterlab/coreutils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import {
  notebookIcon,
  numberingIcon,
  variableIcon,
  type LabIcon
} from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { addToInputBar } from './input_bar';
import {
  mentions,
  unmentioned,
  VariableCompletion,
  Variables,
  type Where
} from './variables';

/** Characters of a cell, and of what is selected in it, that are sent at most. */
const SOURCE = 4000;

/** The beginning of `text`; the agent is told how much is missing. */
function clipped(text: string): string {
  const over = text.length - SOURCE;
  return over > 0
    ? `${text.slice(0, SOURCE)}\n[... ${over.toLocaleString('en')} characters left out ...]`
    : text;
}

/** The kernel of `panel`, if the agent's code, which is Python, can run there. */
function pythonKernel(panel: NotebookPanel | null): string | undefined {
  const context = panel?.sessionContext;
  const kernel = context?.session?.kernel;
  const specs = context?.specsManager.specs?.kernelspecs;
  const language = kernel && specs?.[kernel.name]?.language;
  return !language || language.toLowerCase() === 'python'
    ? kernel?.id
    : undefined;
}

/** A cell as the message carries it; `number` counts from 1. */
interface ICell {
  number: number;
  kind: string;
  execution_count: number | null;
  source: string;
  selection: string;
}

/** One thing that goes along; `toggle` leaves it out, or takes it in again. */
interface IChip {
  key: string;
  icon: LabIcon;
  label: string;
  /** What a screen reader and the tooltip say it is. */
  what: string;
  on: boolean;
  toggle: () => void;
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
    const cell = this._activeCell();
    if (cell) {
      const { number, selection, execution_count } = this._cell(cell);
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
    this._stamp();
  }

  /** Stamp what is true at the moment of sending. */
  async submit(): Promise<void> {
    const { where } = this;
    if (where && mentions(this._chat.model.input.value).length) {
      await this._variables.of(where);
    }
    this.refresh();
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

  /** The selected cell, if there is anything in it. */
  private _activeCell(): Cell | null {
    const cell = this._sent()?.content.activeCell ?? null;
    return cell?.model.sharedModel.getSource().trim() ? cell : null;
  }

  private _cell(cell: Cell): ICell {
    const { sharedModel } = cell.model;
    const source = sharedModel.getSource();
    const range = cell.editor?.getSelection();
    const ends = range
      ? [range.start, range.end].map(end => cell.editor!.getOffsetAt(end))
      : [0, 0];
    const content = this._notebook!.content;
    return {
      number: content.activeCellIndex + 1,
      kind: sharedModel.cell_type,
      execution_count:
        'execution_count' in sharedModel
          ? (sharedModel.execution_count as number | null)
          : null,
      source: clipped(source),
      selection: clipped(
        source.slice(Math.min(...ends), Math.max(...ends))
      )
    };
  }

  private _names(): string[] {
    const { where } = this;
    return where ? this._variables.in(this._chat.model.input.value, where) : [];
  }

  private _stamp(): void {
    const { input } = this._chat.model;
    const panel = this._sent();
    const cell = this._without.has('cell') ? null : this._activeCell();
    const names = this._names();
    // Every key is always there, so that a stamp wipes out the one before.
    const now: Record<string, unknown> = {
      notebook_path: panel?.context.localPath,
      kernel_id: pythonKernel(panel),
      cell: cell ? this._cell(cell) : undefined,
      variables: names.length ? names : undefined
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

  private _toggle(key: string): void {
    if (!this._without.delete(key)) {
      this._without.add(key);
    }
    this._stamp();
  }

  private _textChanged(): void {
    const { where } = this;
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
  private _changed = new Signal<this, void>(this);
}

function Chip({ chip }: { chip: IChip }): JSX.Element {
  const told = chip.on
    ? `Goes along: ${chip.what}. Click to leave it out.`
    : `Left out: ${chip.what}. Click to send it along again.`;
  return (
    <button
      type="button"
      className="jp-Caesarion-chip"
      aria-pressed={chip.on}
      aria-label={told}
      title={told}
      onClick={event => {
        event.stopPropagation();
        chip.toggle();
      }}
    >
      <chip.icon.react tag="span" className="jp-Caesarion-chipIcon" />
      <span className="jp-Caesarion-chipLabel">{chip.label}</span>
      <span className="jp-Caesarion-chipAction" aria-hidden="true">
        {chip.on ? '×' : '+'}
      </span>
    </button>
  );
}

class Chips extends ReactWidget {
  constructor(private _context: Context) {
    super();
    this.addClass('jp-Caesarion-chips');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', 'What goes along with your message');
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this._context.changed}>
        {() => (
          <>
            {this._context.chips.map(chip => (
              <Chip key={chip.key} chip={chip} />
            ))}
          </>
        )}
      </UseSignal>
    );
  }
}

/** Keep the stamp of every open chat true for as long as the lab runs. */
function stampChats(
  chats: IChatTracker,
  notebooks: INotebookTracker,
  shell: ILabShell | null,
  commands: IChatCommandRegistry | null
): void {
  const contexts = new Map<IChatPanel, Context>();
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
