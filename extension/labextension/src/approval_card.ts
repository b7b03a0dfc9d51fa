/**
 * The approval card: the buttons of a call that waits for a person, who runs it, edits its
 * code first, or refuses it with a reason. Drawn by call.ts in the call's cell. The decision
 * goes to the server, which shows it in every tab.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** The recorded decision about a call that waited. */
export interface IDecision {
  readonly decision: 'run' | 'refuse';
  readonly by: string;
  /** UTC, ISO 8601. */
  readonly at: string;
  readonly edited: boolean;
  /** Whether a program of `by` decided, with a token. */
  readonly program?: boolean;
}

interface IAnswer {
  decision: 'run' | 'refuse';
  code?: string;
  reason?: string;
}

/** Edited code by approval id. It outlives the card, which every update of the chat draws anew. */
const drafts = new Map<string, string>();

/** "approved by hana 14:02", in the reader's own time. */
export function describeDecision(decided: IDecision): string {
  const at = new Date(decided.at);
  const today = at.toDateString() === new Date().toDateString();
  const time = today
    ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : at.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  const did =
    decided.decision === 'refuse'
      ? 'refused'
      : decided.edited
        ? 'edited and approved'
        : 'approved';
  const by = decided.program ? `a program of ${decided.by}` : decided.by;
  return `${did} by ${by} ${time}`;
}

/** Send the decision; return an error sentence, or an empty text. */
async function send(approval: string, answer: IAnswer): Promise<string> {
  // By the session's cookie alone: the server refuses the decision of a token, also of the
  // one that JupyterHub puts into the page.
  const settings = ServerConnection.makeSettings({ token: '' });
  const url = URLExt.join(
    settings.baseUrl,
    'caesarion/api/approvals',
    encodeURIComponent(approval)
  );
  try {
    const init = { method: 'POST', body: JSON.stringify(answer) };
    const told = await ServerConnection.makeRequest(url, init, settings);
    if (told.ok) {
      return '';
    }
    const { message } = (await told.json()) as { message?: string };
    return message ?? `The server answered ${told.status}.`;
  } catch {
    return 'The server does not answer, so the call still waits. Try again when the server is back.';
  }
}

function button(label: string, press: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'caesarion-approval-button';
  made.textContent = label;
  made.addEventListener('click', press);
  return made;
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

/**
 * Make the card of a waiting call. `code` is undefined if the call has no code to edit;
 * `shown` is the drawn code, which the editor replaces.
 */
export function makeApprovalCard(
  approval: string,
  code: string | undefined,
  shown: HTMLElement | undefined
): HTMLElement {
  const node = document.createElement('div');
  node.className = 'caesarion-approval';
  const problem = document.createElement('div');
  problem.className = 'caesarion-approval-problem';
  problem.setAttribute('role', 'alert');
  const buttons = document.createElement('div');
  buttons.className = 'caesarion-approval-buttons';
  node.append(buttons, problem);

  const editor = document.createElement('textarea');
  editor.className = 'caesarion-approval-code';
  editor.setAttribute('aria-label', 'Code to run');
  editor.spellcheck = false;
  const reason = document.createElement('input');
  reason.className = 'caesarion-approval-reason';
  reason.setAttribute('aria-label', 'Reason, sent to the agent');
  reason.placeholder = 'Reason, sent to the agent (optional)';
  reason.maxLength = 2000;

  const answer = async (given: IAnswer): Promise<void> => {
    const controls = [...buttons.querySelectorAll('button')];
    controls.forEach(control => (control.disabled = true));
    problem.textContent = await send(approval, given);
    controls.forEach(control => (control.disabled = problem.textContent === ''));
    if (problem.textContent === '') {
      drafts.delete(approval);
    }
  };
  const run = button('Run', () => {
    const edited = drafts.get(approval);
    void answer({ decision: 'run', ...(edited === undefined ? {} : { code: edited }) });
  });
  run.classList.add('caesarion-approval-run');
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
  const refuse = button('Refuse', () => {
    if (!reason.isConnected) {
      buttons.replaceChildren(reason, refuse, cancel);
      reason.focus();
    } else {
      void answer({ decision: 'refuse', reason: reason.value });
    }
  });
  const show = (): void => {
    const draft = drafts.get(approval);
    run.disabled = false;
    editor.remove();
    shown?.classList.toggle('caesarion-approval-hidden', draft !== undefined);
    if (draft === undefined) {
      buttons.replaceChildren(run, ...(code === undefined ? [] : [edit]), refuse);
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
      run.click();
    } else if (event.key === 'Escape') {
      back();
    }
  });
  reason.addEventListener('keydown', event => {
    if (event.key === 'Enter') {
      event.preventDefault();
      refuse.click();
    } else if (event.key === 'Escape') {
      back();
    }
  });
  show();
  focusIfIdle(run);
  return node;
}
