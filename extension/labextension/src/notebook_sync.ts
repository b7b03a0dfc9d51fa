/**
 * Keeping pages that have the same notebook open together. The agent changes it in one of them,
 * which saves it soon; the others read it again, unless there is something unsaved in them: then
 * the lab itself asks the person at the next save. Used by open_notebooks.ts.
 */

import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import { Debouncer } from '@lumino/polling';

type Context = NotebookPanel['context'];

/** Milliseconds after a change by the agent until it is saved: others may follow it. */
const SAVED_AFTER = 1_000;

/** Milliseconds until the file is looked at, after a change in another page; again if need be. */
const LOOKED_AT = [2_000, 5_000, 10_000];

/** The part of ydoc's notebook that is used here; its interfaces do not have it. */
interface IYNotebook {
  readonly ydoc: { getArray(name: string): { observeDeep(changed: () => void): void } };
}

export class NotebookSync {
  constructor(
    private readonly _documents: IDocumentManager,
    private readonly _contents: Contents.IManager
  ) {}

  /** Notice from now on whether something in the cells is not saved, and save it in turn. */
  watch(context: Context): void {
    saveInTurn(context);
    const { ydoc } = context.model.sharedModel as unknown as IYNotebook;
    ydoc.getArray('cells').observeDeep(() => this._touched.add(context));
    context.saveState.connect((_, state) => {
      if (state === 'started') {
        this._saving.add(context);
        this._touched.delete(context);
      } else {
        this._saving.delete(context);
        if (state === 'failed') {
          this._touched.add(context);
        }
      }
    });
  }

  /** Save a notebook in a moment, if the lab saves by itself. */
  saveSoon(context: Context): void {
    if (!this._documents.autosave || !context.contentsModel?.writable) {
      return;
    }
    let saver = this._savers.get(context);
    if (!saver) {
      saver = new Debouncer(() => this._save(context), SAVED_AFTER);
      this._savers.set(context, saver);
    }
    void saver.invoke();
  }

  /** Read a notebook again if another page saves it now. */
  followSoon(context: Context): void {
    if (!this._following.has(context)) {
      this._following.add(context);
      void this._follow(context).finally(() => this._following.delete(context));
    }
  }

  private async _save(context: Context): Promise<void> {
    if (this._saving.has(context)) {
      // JupyterLab 4.6 calls clean what was changed in the middle of a save.
      this.saveSoon(context);
    } else if (!context.isDisposed && this._touched.has(context)) {
      // What goes wrong is told by the lab in a dialog.
      await context.save().catch(() => undefined);
    }
  }

  private async _follow(context: Context): Promise<void> {
    for (const time of LOOKED_AT) {
      await new Promise(resolve => window.setTimeout(resolve, time));
      if (this._isOurs(context)) {
        return;
      }
      const file = await this._contents.get(context.path, { content: false }).catch(() => null);
      const known = context.contentsModel?.last_modified;
      if (this._isOurs(context)) {
        return;
      }
      if (file && known && Date.parse(file.last_modified) > Date.parse(known)) {
        await context.revert();
        this._touched.delete(context);
        return;
      }
    }
  }

  /**
   * Whether there is something unsaved that would be lost. The lab calls a notebook dirty also
   * when no more has happened than that its kernel has told its language.
   */
  private _isOurs(context: Context): boolean {
    return context.isDisposed || this._touched.has(context) || this._saving.has(context);
  }

  /** Notebooks whose cells have changed since they were last saved. */
  private readonly _touched = new WeakSet<Context>();
  private readonly _saving = new WeakSet<Context>();
  private readonly _savers = new WeakMap<Context, Debouncer>();
  private readonly _following = new WeakSet<Context>();
}

/**
 * Let the saves of a notebook wait for each other: JupyterLab 4.6 takes the file of one for a
 * stranger's in another at once, and asks the person, whose Ctrl+S came while the agent's
 * change was saved, whose file is to be kept.
 */
function saveInTurn(context: Context): void {
  const save = context.save.bind(context);
  let last = Promise.resolve();
  context.save = () => {
    const next = last.then(save);
    last = next.catch(() => undefined);
    return next;
  };
}
