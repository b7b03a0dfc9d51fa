/**
 * The approval card: what a call that waits can do, and the buttons of the person who runs it,
 * edits its code first, refuses it with a reason, or allows all such calls in this chat. Drawn by
 * call.ts in the call's cell. The decision goes to the server, which shows it in every tab.
 */

import { onPress } from './by_person';
import { explainClass, listClasses } from './risk_classes';
import { answerCall, type IAnswer } from './decision';

/** The recorded decision about a call that waited. */
export interface IDecision {
  readonly decision: 'run' | 'refuse';
  readonly by: string;
  /** UTC, ISO 8601. */
  readonly at: string;
  readonly edited: boolean;
  /** Whether a program of `by` decided, with a token. */
  readonly program?: boolean;
  /** Classes that need not wait in this chat since; with `rule` those that let this call run. */
  readonly allowed?: readonly string[];
  readonly rule?: boolean;
}

/** Edited code by approval id. It outlives the card, which every update of the chat draws anew. */
const drafts = new Map<string, string>();

/** Where the card of an approval id says what went wrong; of one drawn anew the latest. */
const problems = new Map<string, HTMLElement>();

/** When the last decision was sent, by the page's clock. */
let decided = -Infinity;

/** Milliseconds in which a press may still be meant for the card before: a double click. */
const DOUBLE = 500;

/** A time (UTC, ISO 8601) as the reader's own: "14:02", or with its day. */
export function describeTime(time: string): string {
  const at = new Date(time);
  const today = at.toDateString() === new Date().toDateString();
  return today
    ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : at.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

/** "approved by hana 14:02". */
export function describeDecision(decided: IDecision): string {
  const did =
    decided.decision === 'refuse'
      ? 'refused'
      : decided.edited
        ? 'edited and approved'
        : 'approved';
  const by = decided.program ? `a program of ${decided.by}` : decided.by;
  const time = describeTime(decided.at);
  const classes = listClasses(decided.allowed ?? []);
  if (decided.rule) {
    return `allowed by ${by} ${time}: ${classes}`;
  }
  return `${did} by ${by} ${time}${classes && ` · ${classes} allowed in this chat`}`;
}

function button(label: string, press: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'caesarion-approval-button';
  made.textContent = label;
  onPress(made, press);
  return made;
}

/** Say what a call can do. */
function makeChips(classes: readonly string[]): HTMLElement {
  const node = document.createElement('div');
  node.className = 'caesarion-approval-classes';
  node.append('Risk: ');
  for (const one of classes) {
    const chip = document.createElement('span');
    chip.className = 'caesarion-approval-class';
    chip.dataset.class = one;
    chip.textContent = one;
    chip.title = explainClass(one);
    node.append(chip);
  }
  return node;
}

/** Focus the Run button, unless the user's focus is elsewhere, in an input above all. */
function focusIfIdle(run: HTMLButtonElement): void {
  requestAnimationFrame(() => {
    const at = document.activeElement;
    if (run.isConnected && (at === null || at === document.body)) {
      run.focus({ preventScroll: true });
    }
  });
}

/** What the two decisions are called, and the box in which the code is edited. */
export interface IApprovalWords {
  readonly run: string;
  readonly refuse: string;
  readonly editor: string;
}

const WORDS: IApprovalWords = { run: 'Run', refuse: 'Refuse', editor: 'Code to run' };

/** A call that waits. */
export interface IWaitingCall {
  /** What its decision is sent to. */
  readonly approval: string;
  /** The hash of what is shown of it, by decision.ts. */
  readonly hash: string;
  /** Its code, if it has some to edit. */
  readonly code?: string | undefined;
  /** What it can do. */
  readonly classes?: readonly string[] | undefined;
}

/** Make the card of a waiting call; `shown` is the drawn code, which the editor replaces. */
export function makeApprovalCard(
  { approval, hash, code, classes = [] }: IWaitingCall,
  shown: HTMLElement | undefined,
  words = WORDS
): HTMLElement {
  const node = document.createElement('div');
  node.className = 'caesarion-approval';
  const problem = document.createElement('div');
  problem.className = 'caesarion-approval-problem';
  problem.setAttribute('role', 'alert');
  problem.textContent = problems.get(approval)?.textContent ?? '';
  problems.set(approval, problem);
  const buttons = document.createElement('div');
  buttons.className = 'caesarion-approval-buttons';
  node.append(...(classes.length ? [makeChips(classes)] : []), buttons, problem);

  const editor = document.createElement('textarea');
  editor.className = 'caesarion-approval-code';
  editor.setAttribute('aria-label', words.editor);
  editor.spellcheck = false;
  const reason = document.createElement('input');
  reason.className = 'caesarion-approval-reason';
  reason.setAttribute('aria-label', 'Reason, sent to the agent');
  reason.placeholder = 'Reason, sent to the agent (optional)';
  reason.maxLength = 2000;

  const answer = async (given: Omit<IAnswer, 'shown'>): Promise<void> => {
    const controls = [...buttons.querySelectorAll('button')];
    controls.forEach(control => (control.disabled = true));
    decided = performance.now();
    const sentence = await answerCall(approval, { ...given, shown: hash });
    problems.get(approval)!.textContent = sentence;
    controls.forEach(control => (control.disabled = sentence === ''));
    if (sentence === '') {
      drafts.delete(approval);
      problems.delete(approval);
    }
  };
  const approve = (): void => {
    const edited = drafts.get(approval);
    void answer({ decision: 'run', ...(edited === undefined ? {} : { code: edited }) });
  };
  const run = button(words.run, approve);
  run.classList.add('caesarion-approval-run');
  const allow = button(`Allow ${listClasses(classes)} in this chat`, () => {
    void answer({ decision: 'run', class: classes });
  });
  allow.title =
    `${words.run}, and do not ask in this chat about calls that do nothing else. ` +
    'Above the input you can take it back.';
  const fit = (): void => {
    editor.rows = Math.min(20, Math.max(2, editor.value.split('\n').length));
    run.disabled = editor.value.trim() === '';
  };
  const edit = button('Edit', () => {
    drafts.set(approval, drafts.get(approval) ?? code ?? '');
    show();
    editor.focus();
  });
  const back = (): void => {
    drafts.delete(approval);
    reason.remove();
    show();
    run.focus();
  };
  const cancel = button('Cancel', back);
  const reject = (): void => void answer({ decision: 'refuse', reason: reason.value });
  const refuse = button(words.refuse, () => {
    if (!reason.isConnected) {
      buttons.replaceChildren(reason, refuse, cancel);
      reason.focus();
    } else {
      reject();
    }
  });
  const show = (): void => {
    const draft = drafts.get(approval);
    run.disabled = false;
    editor.remove();
    shown?.classList.toggle('caesarion-approval-hidden', draft !== undefined);
    if (draft === undefined) {
      buttons.replaceChildren(
        run,
        ...(code === undefined ? [] : [edit]),
        refuse,
        ...(classes.length ? [allow] : [])
      );
    } else {
      editor.value = draft;
      shown?.after(editor);
      buttons.replaceChildren(run, cancel, refuse);
      fit();
    }
  };
  editor.addEventListener('input', () => {
    drafts.set(approval, editor.value);
    fit();
  });
  editor.addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.shiftKey || event.ctrlKey)) {
      event.preventDefault();
      if (event.isTrusted && !run.disabled) {
        approve();
      }
    } else if (event.key === 'Escape') {
      back();
    }
  });
  reason.addEventListener('keydown', event => {
    if (event.key === 'Enter') {
      event.preventDefault();
      if (event.isTrusted && !refuse.disabled) {
        reject();
      }
    } else if (event.key === 'Escape') {
      back();
    }
  });
  show();
  const wait = decided + DOUBLE - performance.now();
  if (wait > 0) {
    run.disabled = allow.disabled = true;
    window.setTimeout(() => {
      allow.disabled = false;
      run.disabled = editor.isConnected && editor.value.trim() === '';
      focusIfIdle(run);
    }, wait);
  } else {
    focusIfIdle(run);
  }
  return node;
}
