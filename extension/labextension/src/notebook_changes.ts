/**
 * The changes of one notebook as they are drawn in it: where each goes, which one is looked at,
 * and what becomes of a decision. Made by changes.ts for each notebook panel; the list comes from
 * open_notebooks.ts and is drawn as it is.
 */

import type { Cell } from '@jupyterlab/cells';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import { Debouncer } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';
import type { PanelLayout, Widget } from '@lumino/widgets';

import { noteOf, placeOf, sortByPlace, type IPlace } from './change_place';
import { ChangeView, type IChangeShown } from './change_view';
import { decideChanges, type Verdict } from './decision';
import type { IOpenNotebooks } from './open_notebooks';
import type { IChange } from './page_channel';

/** Milliseconds that a person's typing is waited for, before what is drawn follows it. */
const TYPING = 300;

/** A notebook in which changes wait: what is shown in it keeps to its own place. */
const DECIDING = 'jp-Caesarion-deciding';
const DELETED = 'jp-Caesarion-deleted';
const EDITED = 'jp-Caesarion-edited';
const TOUCHED = 'jp-Caesarion-touched';

export class NotebookChanges {
  constructor(
    readonly panel: NotebookPanel,
    private readonly _notebooks: IOpenNotebooks,
    private readonly _languages: IEditorLanguageRegistry
  ) {
    const { content, context } = panel;
    const typed = new Debouncer(() => this._draw(), TYPING);
    _notebooks.changed.connect(this._listed, this);
    context.pathChanged.connect(this._listed, this);
    content.modelContentChanged.connect(() => void typed.invoke());
    panel.disposed.connect(() => {
      typed.dispose();
      Signal.clearData(this);
    });
    void context.ready.then(() => this._listed());
  }

  /** Emitted when there is something else to see. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get path(): string {
    return this.panel.context.localPath;
  }

  /** The changes, as they follow each other in the notebook. */
  get changes(): readonly IChange[] {
    return this._changes;
  }

  /** The index of the change that is looked at; -1 for none. */
  get index(): number {
    return this._changes.findIndex(({ id }) => id === this._current);
  }

  get isDeciding(): boolean {
    return this._deciding.size > 0;
  }

  /** The change that a command is about: the one looked at, else that of the active cell. */
  get target(): IChange | undefined {
    const active = this.panel.content.activeCell?.model.id;
    return (
      this._changes[this.index] ??
      this._changes.find(({ operation }) => operation.cell_id === active) ??
      (this._changes.length === 1 ? this._changes[0] : undefined)
    );
  }

  /** Go `steps` changes on, round the end. */
  walk(steps: number): void {
    const { length } = this._changes;
    if (length) {
      const from = this.index < 0 && steps < 0 ? 0 : this.index;
      this.reveal(this._changes[(from + steps + length) % length]!.id);
    }
  }

  /** Bring a change into view, and the focus to its buttons. */
  reveal(id: string): void {
    const change = this._changes.find(one => one.id === id);
    if (!change) {
      return;
    }
    const { content } = this.panel;
    const { cell } = placeOf(change, this._changes, this.panel.content.widgets);
    this._current = id;
    content.deselectAll();
    content.activeCellIndex = content.widgets.indexOf(cell);
    this._update();
    void content.scrollToItem(content.activeCellIndex, 'smart').then(() => {
      const view = this._views.get(id);
      view?.node.scrollIntoView({ block: 'nearest' });
      view?.focus();
    });
  }

  /** Undo what the agent has done last here; false if it is not the last thing done. */
  undo(): boolean {
    return this._notebooks.undo(this.panel);
  }

  /** Decide about changes; what goes wrong is said at each. */
  async decide(changes: readonly IChange[], verdict: Verdict): Promise<void> {
    const due = changes.filter(({ id }) => !this._deciding.has(id));
    due.forEach(({ id }) => {
      this._deciding.add(id);
      this._problems.delete(id);
    });
    this._update();
    const problems = await decideChanges(this.path, due, verdict);
    problems.forEach((problem, id) => {
      // What is decided stays so until the server's list no longer has it.
      if (problem) {
        this._deciding.delete(id);
        this._problems.set(id, problem);
      }
    });
    this._update();
  }

  private _listed(): void {
    const { content } = this.panel;
    if (this.panel.isDisposed || !content.model) {
      return;
    }
    const listed = this._notebooks.changes(this.path);
    const ids = new Set(listed.map(({ id }) => id));
    const focused = this._focused();
    const isInBar = this.panel.contentHeader.node.contains(document.activeElement);
    const at = this.index;
    [...this._deciding].filter(id => !ids.has(id)).forEach(id => this._deciding.delete(id));
    [...this._problems.keys()].filter(id => !ids.has(id)).forEach(id => this._problems.delete(id));
    this._changes = sortByPlace(listed, content.widgets);
    content.toggleClass(DECIDING, listed.length > 0);
    if (!ids.has(this._current)) {
      this._current = '';
    }
    this._draw();
    if (focused && !ids.has(focused)) {
      // The focus goes on with the person: to the next change, at last to the notebook.
      const next = this._changes[Math.max(0, at) % Math.max(1, this._changes.length)];
      if (next) {
        this.reveal(next.id);
      } else {
        this._leave();
      }
    } else if (isInBar && !listed.length) {
      this._leave();
    }
  }

  /** Let the focus go to the active cell: the notebook's own way keeps it at what is inside. */
  private _leave(): void {
    this.panel.content.activeCell?.node.focus({ preventScroll: true });
  }

  /** Draw each change in its place, and nothing else. */
  private _draw(): void {
    // A notebook without cells gets one in a moment.
    if (this.panel.isDisposed || !this.panel.content.widgets.length) {
      return;
    }
    this._expand();
    const marks = new Map<Cell, Set<string>>();
    for (const [id, view] of this._views) {
      if (view.isDisposed || !this._changes.some(change => change.id === id)) {
        view.dispose();
        this._views.delete(id);
      }
    }
    for (const change of this._changes) {
      const place = placeOf(change, this._changes, this.panel.content.widgets);
      const view = this._view(change.id);
      view.draw(this._shown(change, place));
      this._put(view, place);
      const { kind, cell_id } = change.operation;
      if (place.cell.model.id === cell_id) {
        const proposed = change.state === 'proposed';
        const mark = !proposed ? TOUCHED : kind === 'edit' ? EDITED : kind === 'delete' ? DELETED : '';
        marks.set(place.cell, (marks.get(place.cell) ?? new Set()).add(mark));
      }
    }
    for (const cell of this.panel.content.widgets) {
      const names = marks.get(cell);
      [EDITED, DELETED, TOUCHED].forEach(name => cell.toggleClass(name, names?.has(name) ?? false));
    }
    this._update();
  }

  /** Open headings that a file says are shut, if a change is below one: all of them can be seen. */
  private _expand(): void {
    const { content } = this.panel;
    const places = this._changes.map(one => placeOf(one, this._changes, content.widgets));
    if (places.some(({ cell }) => cell.isHidden)) {
      NotebookActions.expandAllHeadings(content);
    }
  }

  /** Show which change is looked at, and what becomes of each. */
  private _update(): void {
    if (this.panel.isDisposed) {
      return;
    }
    this._views.forEach((view, id) =>
      view.setState({
        isCurrent: id === this._current,
        isDeciding: this._deciding.has(id),
        problem: this._problems.get(id) ?? ''
      })
    );
    this._changed.emit();
  }

  private _view(id: string): ChangeView {
    let view = this._views.get(id);
    if (!view) {
      view = new ChangeView(
        this._languages,
        verdict => {
          const change = this._changes.find(one => one.id === id);
          if (change) {
            this._current = id;
            void this.decide([change], verdict);
          }
        },
        () => this._leave()
      );
      view.node.addEventListener('focusin', () => this._look(id));
      this._views.set(id, view);
    }
    return view;
  }

  private _look(id: string): void {
    if (this._current !== id) {
      this._current = id;
      this._update();
    }
  }

  private _focused(): string | undefined {
    const at = document.activeElement;
    return [...this._views].find(([, view]) => view.node.contains(at))?.[0];
  }

  /** Put a view into the node of its cell: below its header, or at its end. */
  private _put(view: ChangeView, { cell, isBelow }: IPlace): void {
    const put = (): void => {
      const layout = cell.layout as PanelLayout;
      const ours = (widget: Widget | undefined): boolean => widget instanceof ChangeView;
      const { widgets } = layout;
      if (view.parent === cell && view.hasClass('jp-mod-below') === isBelow) {
        return;
      }
      view.toggleClass('jp-mod-below', isBelow);
      if (isBelow) {
        layout.addWidget(view);
      } else {
        let index = 1; // Below the cell's header.
        while (ours(widgets[index])) {
          index += 1;
        }
        layout.insertWidget(index, view);
      }
    };
    if (cell.isPlaceholder()) {
      // A cell makes its parts when it comes into view first.
      void cell.ready.then(() => {
        if (!cell.isDisposed && !view.isDisposed && !view.parent) {
          put();
        }
      });
    } else {
      put();
    }
  }

  private _shown(change: IChange, { cell, isThere }: IPlace): IChangeShown {
    const { operation, state, why, before } = change;
    const { kind, source = null } = operation;
    const isApplied = state === 'applied';
    const cellType = operation.cell_type ?? cell.model.type;
    const now = isThere && kind !== 'insert' ? cell.model.sharedModel.getSource() : '';
    const mimeType = this._notebooks.mimeType(this.path, operation.cell_id, cellType);
    const sources: Record<typeof kind, IChangeShown['source']> = {
      edit: {
        before: isApplied ? before : now,
        after: isApplied ? now : source ?? '',
        mimeType
      },
      insert: isApplied ? null : { before: null, after: source ?? '', mimeType },
      delete: isApplied ? { before: null, after: before ?? '', mimeType } : null,
      move: null
    };
    return {
      kind,
      state,
      why,
      cellType,
      note: noteOf(change, isThere, now, this.panel.content.widgets),
      cell: kind === 'insert' ? 'new cell' : `cell ${this.panel.content.widgets.indexOf(cell) + 1}`,
      source: sources[kind],
      isFolded: isApplied && kind === 'edit'
    };
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _views = new Map<string, ChangeView>();
  private readonly _deciding = new Set<string>();
  private readonly _problems = new Map<string, string>();
  private _changes: IChange[] = [];
  private _current = '';
}
