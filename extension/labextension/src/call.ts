/**
 * A call in the chat: what the agent runs, how it goes, and what one can do with it.
 * Made by cells.ts for the MIME type below, whose JSON the server's
 * chat/bundles.py writes.
 */

import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import {
  addBelowIcon,
  caretDownIcon,
  caretRightIcon,
  checkIcon,
  copyIcon,
  runIcon,
  type LabIcon
} from '@jupyterlab/ui-components';
import { Panel, Widget } from '@lumino/widgets';

import { describeDecision, makeApprovalCard, type IDecision } from './approval_card';
import type { ICellChange, IChangeCards } from './change_card';
import type { Intent } from './context';
import { makeToolbar } from './error_actions';
import { hashOfText } from './decision';
import { showExactly, withNames } from './exact_code';
import { isFolded, toggleOutputs } from './fold_state';
import { makeQuestionCard, type IQuestion } from './question_card';

export const CALL_MIME = 'application/vnd.caesarion.call+json';

/** Where a call stands; all but the first three are how it ended. */
export type CallStatus =
  | 'queued'
  | 'waiting'
  | 'running'
  | 'ok'
  | 'error'
  | 'timeout'
  | 'refused'
  | 'interrupted'
  | 'dead';

/** A call as the server tells of it. */
export interface ICall {
  readonly id: string;
  readonly name: string;
  readonly status: CallStatus;
  /** Its Python; a call of another tool has a label instead. */
  readonly code?: string;
  readonly label?: string;
  /** Whether its code runs in a copy of the namespace, and leaves no names behind. */
  readonly scratch?: boolean;
  readonly execution_count?: number | null;
  readonly kernel_id?: string;
  /** The path of the notebook whose kernel that is; empty for the chat's own. */
  readonly place?: string;
  /** Seconds since the epoch, and seconds it took. */
  readonly started?: number;
  readonly seconds?: number;
  /** What answers it while it waits for a person, and what they said. */
  readonly approval_id?: string;
  /** What it can do at worst: risk_classes.ts. */
  readonly classes?: readonly string[];
  readonly decided?: IDecision;
  /** What it changes or runs in a notebook. */
  readonly change?: ICellChange;
  /** What it asks its person. */
  readonly question?: IQuestion;
  /** What the model was told, where there is nothing else to see. */
  readonly told?: string;
}

/** What the buttons of a cell do; `node` is in the chat that holds it. */
export interface ICallActions {
  copy(code: string): Promise<void>;
  insert(call: ICall, node: HTMLElement): Promise<void>;
  rerun(call: ICall, node: HTMLElement): void;
  /** Fix or explain a call that failed, or ask about it; resolves with what to say of that. */
  act(intent: Intent, call: ICall, node: HTMLElement): Promise<string>;
}

const STATUS_WORDS: Record<CallStatus, string> = {
  queued: 'waiting for the kernel',
  waiting: 'waiting for you',
  running: 'running',
  ok: 'done',
  error: 'failed',
  timeout: 'stopped at the time limit',
  refused: 'not run',
  interrupted: 'stopped',
  dead: 'the kernel died'
};

/** Of calls that change a notebook. */
const CHANGE_WORDS: Partial<Record<CallStatus, string>> = {
  queued: 'being applied',
  ok: 'applied',
  error: 'not applied',
  refused: 'not applied'
};

const SCRATCH =
  'Ran in a copy of the namespace: its names are gone. Objects are shared, so what it changed in place, and files, stay changed.';

/** Seconds as people say them. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) {
    // Nothing takes no time.
    return `${Math.max(0.1, seconds).toFixed(1)} s`;
  }
  if (seconds < 60) {
    return `${Math.floor(seconds)} s`;
  }
  const rest = String(Math.floor(seconds % 60)).padStart(2, '0');
  return `${Math.floor(seconds / 60)} min ${rest} s`;
}

function describe(call: ICall): string {
  const isChange = call.change && call.change.operation !== 'run';
  const change = isChange && CHANGE_WORDS[call.status];
  const words = [change || (STATUS_WORDS[call.status] ?? call.status)];
  if (call.status === 'running' && call.started) {
    words.push(formatSeconds(Math.max(0, Date.now() / 1000 - call.started)));
  } else if (call.seconds !== undefined) {
    words.push(formatSeconds(call.seconds));
  }
  if (call.place) {
    words.push(`in ${withNames(call.place)}`);
  }
  if (call.scratch) {
    words.push('scratch');
  }
  if (call.decided) {
    words.push(describeDecision(call.decided));
  }
  return words.join(' · ');
}

/** An element with a class and a text. */
function element(
  tag: 'div' | 'span',
  name: string,
  text = ''
): HTMLElement {
  const made = document.createElement(tag);
  made.className = `caesarion-call-${name}`;
  made.textContent = text;
  return made;
}

function button(
  label: string,
  icon: LabIcon,
  press: (pressed: HTMLButtonElement) => void
): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'caesarion-call-button';
  made.title = label;
  made.setAttribute('aria-label', label);
  icon.element({ container: made, elementSize: 'small' });
  made.addEventListener('click', () => press(made));
  return made;
}

/** Draws a call. It is made anew with every change; what must stay is in fold_state.ts. */
export class CallRenderer extends Panel implements IRenderMime.IRenderer {
  /** `changes` draws what calls change in notebooks; without it their arguments are shown. */
  constructor(
    rendermime: IRenderMimeRegistry,
    actions: ICallActions,
    changes: IChangeCards | null
  ) {
    super();
    this.addClass('caesarion-call');
    this._rendermime = rendermime;
    this._actions = actions;
    this._changes = changes;
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const call = model.data[CALL_MIME] as unknown as ICall;
    this.node.dataset.call = call.id;
    this.node.dataset.status = call.status;
    this.node.setAttribute('role', 'group');
    const { change } = call;
    if (change && this._changes) {
      this.addClass('caesarion-cell');
      this.addWidget(new Widget({ node: this._changes.make(change, call.approval_id, call.classes) }));
    } else if (call.question) {
      const markdown = this._rendermime.createRenderer('text/markdown');
      this.addWidget(await makeQuestionCard(call.question, markdown, model));
    } else if (call.code === undefined) {
      this.addWidget(
        new Widget({ node: element('div', 'label', withNames(call.label ?? call.name)) })
      );
    } else {
      this.addClass('caesarion-cell');
      await this._addCode(call, call.code, model);
    }
    if (call.told) {
      this.addWidget(new Widget({ node: element('div', 'result', call.told) }));
    }
    if (call.approval_id && !(change && this._changes)) {
      const code = this.node.querySelector<HTMLElement>('.caesarion-call-code');
      const { approval_id: approval, classes } = call;
      const hash = hashOfText(call.code ?? call.label ?? call.name);
      const waiting = { approval, hash, classes, code: call.code };
      this.addWidget(new Widget({ node: makeApprovalCard(waiting, code ?? undefined) }));
    }
    this._addFoot(call);
  }

  /** Draw the prompt, and the code as the lab draws code in Markdown. */
  private async _addCode(
    call: ICall,
    source: string,
    model: IRenderMime.IMimeModel
  ): Promise<void> {
    const code = this._rendermime.createRenderer('text/markdown');
    await code.renderModel(model);
    // The Markdown may say something else, and so may what is drawn of it.
    showExactly(code.node, source);
    code.addClass('caesarion-call-code');
    const count = call.execution_count ?? (call.status === 'running' ? '*' : ' ');
    const line = new Panel();
    line.addClass('caesarion-call-line');
    const prompt = element('div', 'prompt', `In [${count}]:`);
    line.addWidget(new Widget({ node: prompt }));
    line.addWidget(code);
    this.addWidget(line);
  }

  /** Draw how it goes, and the buttons. */
  private _addFoot(call: ICall): void {
    const foot = element('div', 'foot');
    const state = element('span', 'state', describe(call));
    state.setAttribute('role', 'status');
    state.title = describe(call);
    if (call.scratch) {
      state.title = SCRATCH;
    }
    foot.append(element('span', 'dot'), state);
    this._label(call);
    if (call.status === 'running') {
      const ticking = window.setInterval(() => {
        state.textContent = describe(call);
        if (!this.node.isConnected) {
          window.clearInterval(ticking);
        }
      }, 1000);
    }
    if (call.code !== undefined) {
      foot.append(...this._buttons(call, call.code));
    }
    this.addWidget(new Widget({ node: foot }));
    if (call.status === 'error' && call.code !== undefined) {
      this.addWidget(makeToolbar(intent => this._actions.act(intent, call, this.node)));
    }
  }

  private _label(call: ICall): void {
    const what = call.code === undefined ? call.name : 'Cell';
    const count = call.execution_count ? ` ${call.execution_count}` : '';
    this.node.setAttribute('aria-label', `${what}${count}: ${describe(call)}`);
  }

  private _buttons(call: ICall, code: string): HTMLElement[] {
    const copy = button('Copy the code', copyIcon, pressed => {
      void this._actions.copy(code).then(() => {
        pressed.replaceChildren();
        checkIcon.element({ container: pressed, elementSize: 'small' });
        pressed.title = 'Copied';
      });
    });
    const insert = button('Insert into the notebook', addBelowIcon, () => {
      void this._actions.insert(call, this.node);
    });
    const rerun = button('Run again', runIcon, () => {
      this._actions.rerun(call, this.node);
    });
    rerun.disabled = ['queued', 'waiting', 'running'].includes(call.status);
    const fold = button('', caretDownIcon, pressed => {
      toggleOutputs(call.id);
      this._showFold(call.id, pressed);
    });
    this._showFold(call.id, fold);
    return [copy, insert, rerun, fold];
  }

  private _showFold(call: string, fold: HTMLButtonElement): void {
    const shut = isFolded(call);
    fold.replaceChildren();
    (shut ? caretRightIcon : caretDownIcon).element({
      container: fold,
      elementSize: 'small'
    });
    fold.title = shut ? 'Show the outputs' : 'Hide the outputs';
    fold.setAttribute('aria-label', fold.title);
    fold.setAttribute('aria-expanded', String(!shut));
  }

  private readonly _changes: IChangeCards | null;
  private readonly _rendermime: IRenderMimeRegistry;
  private readonly _actions: ICallActions;
}
