/**
 * A change of a notebook in the chat: which cell, why, the difference, and the buttons that decide
 * about it; a link goes to the cell. Drawn by call.ts for a call that changes a cell, or runs one.
 */

import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { Token } from '@lumino/coreutils';

import { makeApprovalCard } from './approval_card';
import { onPress } from './by_person';
import { buttonsOf } from './change_words';
import { withNames } from './exact_code';
import { decideChanges, hashOfChange, type Verdict } from './decision';
import { makeSource } from './lazy_source';
import type { IOpenNotebooks } from './open_notebooks';
import type { IChange } from './page_channel';

/** What a call changes in a notebook, or the cell that it runs, as the server's events.CellChange says. */
export interface ICellChange {
  readonly id: string;
  readonly path: string;
  readonly cell_id: string;
  readonly cell_type: string | null;
  readonly operation: IChange['operation']['kind'] | 'run';
  readonly after: string | null;
  readonly source: string | null;
  readonly before: string | null;
  readonly why: string;
}

/** Makes the cards. */
export interface IChangeCards {
  /**
   * Make the card of a change; `approval` is what a decision about it is sent to, and `classes`
   * what its call can do.
   */
  make(
    change: ICellChange,
    approval: string | undefined,
    classes: readonly string[] | undefined
  ): HTMLElement;
}

export const IChangeCards = new Token<IChangeCards>(
  '@caesarion/labextension:IChangeCards',
  'Draws changes of notebooks in the chat.'
);

/** Changes whose difference people have opened or shut. A card is drawn anew at every update. */
const opened = new Map<string, boolean>();

function element(tag: 'div' | 'button', name: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = `caesarion-change-${name}`;
  made.textContent = text;
  return made;
}

export class ChangeCards implements IChangeCards {
  constructor(
    private readonly _notebooks: IOpenNotebooks,
    private readonly _languages: IEditorLanguageRegistry,
    private readonly _reveal: (change: ICellChange) => Promise<void>
  ) {}

  make(
    change: ICellChange,
    approval: string | undefined,
    classes: readonly string[] | undefined
  ): HTMLElement {
    const node = element('div', 'card', '');
    const link = element('button', 'link', this._title(change)) as HTMLButtonElement;
    link.type = 'button';
    link.title = `Go to the cell in ${change.path}`;
    const problem = element('div', 'problem', '');
    problem.setAttribute('role', 'alert');
    link.addEventListener('click', event => {
      event.stopPropagation(); // The chat takes the focus back at each click in it.
      this._reveal(change).catch((reason: unknown) => {
        problem.textContent = reason instanceof Error ? reason.message : String(reason);
      });
    });
    const head = element('div', 'head', '');
    head.append(link, element('div', 'path', withNames(change.path)));
    node.append(head);
    if (change.why) {
      node.append(element('div', 'why', change.why));
    }
    const source = this._source(change, approval !== undefined);
    if (source) {
      node.append(source);
    }
    if (approval && change.operation === 'run') {
      const call = { approval, hash: hashOfChange(change), classes };
      node.append(makeApprovalCard(call, source));
    } else if (approval) {
      const words = { run: 'Accept', refuse: 'Reject', editor: 'Source of the cell' };
      const code = change.source ?? undefined;
      const call = { approval, hash: hashOfChange(change), classes, code };
      node.append(makeApprovalCard(call, source, words));
    } else if (change.operation !== 'run') {
      node.append(this._applied(change, problem));
    }
    node.append(problem);
    return node;
  }

  /** "Edit cell 3", with the number that the cell has now. */
  private _title({ operation, path, cell_id, cell_type, after }: ICellChange): string {
    const named = (id: string): string => {
      const number = this._notebooks.cellNumber(path, id);
      return number ? `cell ${number}` : 'a cell';
    };
    const place = after ? `below ${named(after)}` : 'at the top';
    switch (operation) {
      case 'run':
        return `Run ${named(cell_id)}`;
      case 'edit':
        return `Edit ${named(cell_id)}`;
      case 'insert':
        return `New ${cell_type ?? 'code'} cell ${place}`;
      case 'delete':
        return `Delete ${named(cell_id)}`;
      case 'move':
        return after ? `Move ${named(cell_id)} ${place}` : `Move ${named(cell_id)} to the top`;
    }
  }

  /** The difference, which can be shut; open for as long as the change waits. */
  private _source(change: ICellChange, waits: boolean): HTMLElement | undefined {
    const { id, operation, path, cell_id, before, source } = change;
    if (operation === 'move') {
      return undefined;
    }
    const details = document.createElement('details');
    details.className = 'caesarion-change-details';
    details.dataset.kind = operation;
    const summary = document.createElement('summary');
    summary.textContent = operation === 'edit' ? 'Difference' : 'Source';
    details.append(summary);
    const draw = (): void => {
      if (details.childElementCount === 1) {
        const shown = {
          before: operation === 'edit' ? before : null,
          after: (operation === 'delete' ? before : source) ?? '',
          mimeType: this._notebooks.mimeType(path, cell_id, change.cell_type),
          label: `${summary.textContent}: ${this._title(change)}`
        };
        details.append(makeSource(shown, this._languages));
      }
    };
    details.open = opened.get(id) ?? waits;
    if (details.open) {
      draw();
    }
    summary.addEventListener('click', () => opened.set(id, !details.open));
    details.addEventListener('toggle', draw);
    return details;
  }

  /** The buttons of a change that is applied, for as long as nobody has looked at it. */
  private _applied({ id, path }: ICellChange, problem: HTMLElement): HTMLElement {
    const node = element('div', 'buttons', '');
    const find = (): IChange | undefined =>
      this._notebooks.changes(path).find(one => one.id === id && one.state === 'applied');
    const decide = async (verdict: Verdict): Promise<void> => {
      const change = find();
      if (change) {
        const problems = await decideChanges(path, [change], verdict);
        problem.textContent = problems.get(id) ?? '';
      }
    };
    const words = buttonsOf('applied');
    const buttons = (['accept', 'reject'] as const).map(verdict => {
      const made = element('button', `button jp-mod-${verdict}`, words[verdict]);
      onPress(made, () => void decide(verdict));
      return made;
    });
    let wasThere = false;
    const follow = (): void => {
      if (wasThere && !node.isConnected) {
        this._notebooks.changed.disconnect(follow);
      } else {
        wasThere = node.isConnected;
        node.replaceChildren(...(find() ? buttons : []));
      }
    };
    this._notebooks.changed.connect(follow);
    follow();
    return node;
  }
}
