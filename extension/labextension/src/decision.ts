/**
 * Sending what a person has decided to the server: about a call or a question that waits, about
 * changes of a notebook, and about a turn.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IChange } from './page_channel';
import { sha256 } from './sha256';

/** The answer to a call that waits. */
export interface IAnswer {
  decision: 'run' | 'refuse';
  /** The hash of what was shown of the call: the server takes no decision about another one. */
  shown: string;
  /** Classes of the call that need not wait in this chat any more. */
  class?: readonly string[];
  code?: string;
  reason?: string;
}

/** What a decision about a change is about. */
export interface IShownChange {
  readonly operation: string;
  readonly path: string;
  readonly cell_id: string;
  readonly cell_type?: string | null;
  readonly after?: string | null;
  readonly source?: string | null;
  readonly before?: string | null;
}

/** The hash of the code of a call, or of its name and arguments, as they are shown. */
export const hashOfText = sha256;

/** The hash of what a change does, as agent/shown.py has it. */
export function hashOfChange(change: IShownChange): string {
  const { operation, path, cell_id, cell_type, after, before, source } = change;
  const hash = typeof before === 'string' ? sha256(before) : '';
  const parts = [operation, path, cell_id, cell_type, after, hash, source];
  return sha256(parts.map(part => part ?? '').join('\0'));
}

/** Accept or keep a change; reject or undo it. */
export type Verdict = 'accept' | 'reject';

const AWAY = 'The server does not answer, so nothing is decided. Try again when it is back.';

/** Send a decision; return an error sentence, or what the server says. */
async function post<Told>(
  route: string,
  body: unknown
): Promise<{ problem: string; told?: Told }> {
  // By the session's cookie alone: the server refuses the decision of a token, also of the
  // one that JupyterHub puts into the page.
  const settings = ServerConnection.makeSettings({ token: '' });
  const url = URLExt.join(settings.baseUrl, 'caesarion/api', route);
  try {
    const init = { method: 'POST', body: JSON.stringify(body) };
    const response = await ServerConnection.makeRequest(url, init, settings);
    const text = await response.text();
    const told = (text ? JSON.parse(text) : {}) as Told & { message?: string };
    return response.ok
      ? { problem: '', told }
      : { problem: told.message ?? `The server answered ${response.status}.` };
  } catch {
    return { problem: AWAY };
  }
}

/** Answer a call that waits; return an error sentence, or an empty text. */
export async function answerCall(approval: string, answer: IAnswer): Promise<string> {
  return (await post(`approvals/${encodeURIComponent(approval)}`, answer)).problem;
}

/** Answer a question of the agent; return an error sentence, or an empty text. */
export async function answerQuestion(question: string, answer: string): Promise<string> {
  return (await post(`answers/${encodeURIComponent(question)}`, { answer })).problem;
}

/** What an undo did. */
export interface IUndone {
  /** How many cells are as they were before. */
  readonly restored: number;
  /** The cells that were changed since, which are proposed as they were. */
  readonly conflicts: readonly string[];
  /** Sentences on notebooks that could not be changed. */
  readonly problems: readonly string[];
  readonly note: string;
}

/** Undo what the answer to `message` did to notebooks. */
export async function undoTurn(
  chat: string,
  message: string
): Promise<{ problem: string; told?: IUndone }> {
  return post<IUndone>('undo', { chat, message });
}

/**
 * Decide about changes of one notebook, one after the other; return error sentences by the
 * changes' ids.
 */
export async function decideChanges(
  path: string,
  changes: readonly IChange[],
  verdict: Verdict
): Promise<Map<string, string>> {
  const problems = new Map<string, string>();
  const decision = verdict === 'accept' ? 'run' : 'refuse';
  for (const { id, approval_id, operation, before } of changes.filter(change => change.approval_id)) {
    const shown = hashOfChange({ ...operation, operation: operation.kind, path, before });
    problems.set(id, await answerCall(approval_id!, { decision, shown }));
  }
  const ids = changes.filter(change => !change.approval_id).map(change => change.id);
  if (ids.length) {
    const { problem, told } = await post<{ problems?: Record<string, string> }>('changes', {
      path,
      ids,
      decision: verdict === 'accept' ? 'keep' : 'undo'
    });
    ids.forEach(id => problems.set(id, problem || told?.problems?.[id] || ''));
  }
  return problems;
}
