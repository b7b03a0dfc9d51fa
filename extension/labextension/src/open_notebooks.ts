/**
 * The notebooks that are open in this page, as the server's agent works in them: reads and
 * changes their models (notebook_model.ts), and knows the changes that wait in them. What the
 * server asks for comes over page_channel.ts.
 */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { Token } from '@lumino/coreutils';
import { Signal, type ISignal } from '@lumino/signaling';

import {
  applyOperation,
  makeUndo,
  NotebookError,
  readNotebook,
  showOutputs,
  type IApplied,
  type IOperation,
  type IRunOutputs,
  type Mark
} from './notebook_model';
import { NotebookSync } from './notebook_sync';
import { PageChannel, type IChange, type IChangeList, type Method } from './page_channel';
import type { IRun } from './run_client';

/** The notebooks of this page, and the changes that the server tells of. */
export interface IOpenNotebooks {
  /** Emitted when the changes of a notebook are other ones. */
  readonly changed: ISignal<IOpenNotebooks, string>;
  /** Emitted when a run has changed; null when any may have, as the connection was lost. */
  readonly runChanged: ISignal<IOpenNotebooks, IRun | null>;
  /** The changes of the notebook at `path`. */
  changes(path: string): readonly IChange[];
  /** Bring a cell of a notebook that is open into view, and make it the active one. */
  reveal(path: string, cell: string): void;
  /** Undo what the agent has done last in a notebook; false if it is not the last thing done. */
  undo(panel: NotebookPanel): boolean;
  /** The number of a cell, from 1; 0 if it is not in a notebook that is open. */
  cellNumber(path: string, cell: string): number;
  /** The MIME type of a cell's source, in whatever language the notebook's code is. */
  mimeType(path: string, cell: string, type: string | null): string;
}

export const IOpenNotebooks = new Token<IOpenNotebooks>(
  '@caesarion/labextension:IOpenNotebooks',
  'The notebooks that are open, as the agent works in them.'
);

class OpenNotebooks implements IOpenNotebooks {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _tracker: INotebookTracker,
    private readonly _sync: NotebookSync
  ) {
    const at = (act: (panel: NotebookPanel, params: Record<string, unknown>) => unknown): Method =>
      params => act(this._panel(params.path as string), params);
    this._channel = new PageChannel(
      {
        read: at(readNotebook),
        apply: at((panel, params) =>
          this._apply(panel, params.operation as IOperation, params.mark as Mark | null)
        ),
        outputs: at((panel, params) => {
          showOutputs(panel, params as unknown as IRunOutputs);
          return {};
        }),
        save: at(async panel => {
          await panel.context.save();
          return {};
        }),
        reveal: at((panel, params) => {
          this._reveal(panel, params.cell_id as string);
          return {};
        })
      },
      list => this._hear(list),
      run => this._runChanged.emit(run),
      () => [...this._changes.keys()].forEach(path => this._hear({ path, changes: [] }))
    );
    const follow = (panel: NotebookPanel): void => {
      panel.context.pathChanged.connect(this._announce, this);
      panel.disposed.connect(this._announce, this);
      void panel.context.ready.then(() => {
        this._sync.watch(panel.context);
        this._announce();
      });
    };
    _tracker.forEach(follow);
    _tracker.widgetAdded.connect((_, panel) => follow(panel));
    _tracker.currentChanged.connect(this._announce, this);
    this._announce();
  }

  get changed(): ISignal<this, string> {
    return this._changed;
  }

  get runChanged(): ISignal<this, IRun | null> {
    return this._runChanged;
  }

  changes(path: string): readonly IChange[] {
    return this._changes.get(path) ?? [];
  }

  reveal(path: string, cell: string): void {
    this._reveal(this._panel(path), cell);
  }

  undo(panel: NotebookPanel): boolean {
    const undone = this._undo.get(panel.context)?.() ?? false;
    this._undo.delete(panel.context);
    panel.content.removeClass(UNDOABLE);
    return undone;
  }

  cellNumber(path: string, cell: string): number {
    const cells = this._find(path)?.content.widgets ?? [];
    return cells.findIndex(({ model }) => model.id === cell) + 1;
  }

  mimeType(path: string, cell: string, type: string | null): string {
    const content = this._find(path)?.content;
    const model = content?.widgets.find(widget => widget.model.id === cell)?.model;
    const code = content?.codeMimetype ?? 'text/x-ipython';
    return MIME_TYPES[type ?? model?.type ?? 'code'] ?? code;
  }

  private _announce(): void {
    const open = new Set<string>();
    this._tracker.forEach(panel => {
      if (isUsable(panel)) {
        open.add(panel.context.localPath);
      }
    });
    const front = this._tracker.currentWidget;
    this._channel.announce(
      [...open],
      front && isUsable(front) ? front.context.localPath : null
    );
  }

  /** The panel of a notebook: the one in front, if two show it. */
  private _find(path: string): NotebookPanel | undefined {
    const shows = (panel: NotebookPanel | null): boolean =>
      panel !== null && isUsable(panel) && panel.context.localPath === path;
    const { currentWidget } = this._tracker;
    return (shows(currentWidget) ? currentWidget : this._tracker.find(shows)) ?? undefined;
  }

  private _panel(path: string): NotebookPanel {
    const found = this._find(path);
    if (!found) {
      throw new NotebookError('closed', `${path} is not open in this page.`);
    }
    return found;
  }

  /** Apply an operation once, however often it is asked for. */
  private _apply(panel: NotebookPanel, operation: IOperation, mark: Mark | null): IApplied {
    const done = this._applied.get(operation.id);
    if (done) {
      return done;
    }
    const { content } = panel;
    const hasFocus = (): boolean => content.node.contains(document.activeElement);
    const hadFocus = hasFocus();
    const applied = applyOperation(panel, operation, mark);
    if (hadFocus && !hasFocus()) {
      // A cell that is deleted or moved is made anew, or gone, and the focus with it.
      content.activate();
    }
    this._applied.set(operation.id, applied);
    this._undo.set(panel.context, makeUndo(panel, operation));
    content.addClass(UNDOABLE);
    this._sync.saveSoon(panel.context);
    return applied;
  }

  private _reveal(panel: NotebookPanel, cell: string): void {
    const { content } = panel;
    const index = content.widgets.findIndex(widget => widget.model.id === cell);
    if (index < 0) {
      throw new NotebookError('unknown_cell', `There is no cell ${cell} in the notebook.`);
    }
    this._app.shell.activateById(panel.id);
    content.deselectAll();
    content.activeCellIndex = index;
    void content.scrollToItem(index, 'center');
  }

  private _hear({ path, changes }: IChangeList): void {
    const panel = this._find(path);
    if (panel && mayBeApplied(this.changes(path), changes)) {
      this._sync.followSoon(panel.context);
    }
    this._changes.set(path, changes);
    this._changed.emit(path);
  }

  private readonly _channel: PageChannel;
  private readonly _changed = new Signal<this, string>(this);
  private readonly _runChanged = new Signal<this, IRun | null>(this);
  private readonly _changes = new Map<string, readonly IChange[]>();
  private readonly _applied = new Map<string, IApplied>();
  /** What undoes the last operation in each notebook. */
  private readonly _undo = new WeakMap<NotebookPanel['context'], () => boolean>();
}

/** Whether a list that came after another one shows that something may have been done. */
function mayBeApplied(before: readonly IChange[], now: readonly IChange[]): boolean {
  const has = (list: readonly IChange[], change: IChange): boolean =>
    list.some(({ id }) => id === change.id);
  return (
    before.some(change => !has(now, change)) ||
    now.some(change => change.state === 'applied' && !has(before, change))
  );
}

/** A notebook in which the last operation can be undone; schema/changes.json binds Ctrl+Z in it. */
const UNDOABLE = 'jp-Caesarion-undoable';

/** Of cells that are not code. */
const MIME_TYPES: Record<string, string> = {
  markdown: 'text/x-ipythongfm',
  raw: 'text/plain'
};

/** Whether the server can work in a notebook: it is read, and lies on the server's own disk. */
function isUsable(panel: NotebookPanel): boolean {
  const { context } = panel;
  return !panel.isDisposed && context.isReady && context.path === context.localPath;
}

export const openNotebooks: JupyterFrontEndPlugin<IOpenNotebooks> = {
  id: '@caesarion/labextension:open-notebooks',
  description: 'Lets the agent work in the notebooks that are open in this page.',
  autoStart: true,
  requires: [INotebookTracker, IDocumentManager],
  provides: IOpenNotebooks,
  activate: (app, tracker: INotebookTracker, documents: IDocumentManager) =>
    new OpenNotebooks(app, tracker, new NotebookSync(documents, app.serviceManager.contents))
};
