/**
 * One change, drawn in the notebook: what it is, why, the difference, and the buttons that decide
 * about it. Placed by notebook_changes.ts. Nothing of it is in the notebook's model.
 */

import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { Widget } from '@lumino/widgets';

import { onPress } from './by_person';
import type { IShown } from './cell_diff';
import { buttonsOf, titleOf, type IDescribed } from './change_words';
import type { Verdict } from './decision';
import { makeSource } from './lazy_source';

/** What a view shows. It is drawn anew where this differs. */
export interface IChangeShown extends IDescribed {
  readonly why: string;
  /** Where the cell goes, or what is in the way of the change. */
  readonly note: string;
  /** "cell 3", for screen readers. */
  readonly cell: string;
  readonly source: Omit<IShown, 'label'> | null;
  /** Whether the source is shown only on demand: the cell itself shows it as well. */
  readonly isFolded: boolean;
}

/** The parts that change while it is drawn. */
export interface IChangeState {
  readonly isCurrent: boolean;
  readonly isDeciding: boolean;
  readonly problem: string;
}

function element(name: string, text = ''): HTMLElement {
  const made = document.createElement('div');
  made.className = `jp-Caesarion-change${name}`;
  made.textContent = text;
  return made;
}

export class ChangeView extends Widget {
  constructor(
    private readonly _languages: IEditorLanguageRegistry,
    private readonly _decide: (verdict: Verdict) => void,
    private readonly _leave: () => void
  ) {
    super();
    this.addClass('jp-Caesarion-change');
    this.node.setAttribute('role', 'group');
    this.node.tabIndex = -1;
    this._problem.setAttribute('role', 'alert');
    this.node.addEventListener('keydown', event => this._keyDown(event));
    // The notebook would take the focus away from what is clicked in here.
    this.node.addEventListener('mousedown', event => event.stopPropagation());
  }

  /** Draw `shown`, unless it is drawn already. */
  draw(shown: IChangeShown): void {
    const key = JSON.stringify(shown);
    if (key !== this._key) {
      this._key = key;
      this._redraw(shown);
    }
  }

  /** Show how it stands with the change. */
  setState(state: IChangeState): void {
    this.toggleClass('jp-mod-current', state.isCurrent);
    // Not disabled, which would lose the focus.
    this._isDeciding = state.isDeciding;
    this._buttons.forEach(button => (button.ariaDisabled = String(state.isDeciding)));
    if (this._problem.textContent !== state.problem) {
      this._problem.textContent = state.problem;
    }
  }

  /** Take the focus, on the button that accepts. */
  focus(): void {
    this._buttons[0]?.focus({ preventScroll: true });
  }

  private _redraw(shown: IChangeShown): void {
    const focused = this._buttons.findIndex(button => button === document.activeElement);
    const { kind, state, why, note, cell } = shown;
    const title = titleOf(shown);
    const { accept, reject } = buttonsOf(state);
    this.node.dataset.kind = kind;
    this.node.dataset.state = state;
    this.node.setAttribute(
      'aria-label',
      [`${title}, ${cell}`, note, why].filter(Boolean).join('. ')
    );
    const head = element('Head');
    const words = element('Words');
    words.append(element('Title', title));
    if (note) {
      words.append(element('Note', note));
    }
    if (why) {
      words.append(element('Why', why));
    }
    const buttons = element('Buttons');
    this._buttons = [
      this._button(accept, `${accept}: ${title}, ${cell}`, () => this._press('accept')),
      this._button(reject, `${reject}: ${title}, ${cell}`, () => this._press('reject'))
    ];
    this._buttons[0]!.classList.add('jp-mod-accept');
    buttons.append(...this._buttons);
    head.append(words, buttons);
    this.node.replaceChildren(head, this._problem, ...this._source(shown, buttons));
    this._buttons[focused]?.focus({ preventScroll: true });
  }

  /** Make the part below the head, if there is something to see in it. */
  private _source({ source, isFolded, kind, cell }: IChangeShown, buttons: HTMLElement): Node[] {
    if (!source) {
      return [];
    }
    const label = kind === 'edit' ? `Difference in ${cell}` : `Source of ${cell}`;
    const make = (): HTMLElement => makeSource({ ...source, label }, this._languages);
    if (!isFolded) {
      return [make()];
    }
    const place = element('Folded');
    const toggle = this._button('Show', `Show what was changed in ${cell}`, () => {
      const open = !place.hasChildNodes();
      place.replaceChildren(...(open ? [make()] : []));
      toggle.textContent = open ? 'Hide' : 'Show';
      toggle.setAttribute('aria-expanded', String(open));
    });
    toggle.setAttribute('aria-expanded', 'false');
    buttons.prepend(toggle);
    return [place];
  }

  private _press(verdict: Verdict): void {
    if (!this._isDeciding) {
      this._decide(verdict);
    }
  }

  private _button(text: string, label: string, press: () => void): HTMLButtonElement {
    const made = document.createElement('button');
    made.type = 'button';
    made.className = 'jp-Caesarion-changeButton';
    made.textContent = text;
    made.setAttribute('aria-label', label);
    onPress(made, press);
    return made;
  }

  private _keyDown(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      this._leave();
      event.stopPropagation();
    } else if (!event.altKey && !event.ctrlKey && !event.metaKey && event.key.length === 1) {
      // Letters are commands of the notebook: two D would delete the cell.
      event.stopPropagation();
    }
  }

  private _key = '';
  private _isDeciding = false;
  private _buttons: HTMLButtonElement[] = [];
  private readonly _problem = element('Problem');
}
