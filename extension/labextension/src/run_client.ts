/**
 * The server's runs over HTTP (docs/http.md): begin one, list them, follow the events of one, stop
 * one. Used by run_list.ts, run_output.tsx and notebooks.tsx.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { ICellChange } from './change_card';

export type RunStatus =
  | 'queued'
  | 'in_progress'
  | 'requires_action'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'incomplete';

/** A call of a run that waits for a person. */
export interface IRequiredAction {
  readonly call: {
    readonly id: string;
    readonly name?: string;
    /** JSON, as the model wrote it. */
    readonly arguments?: string;
    readonly change?: ICellChange;
  };
  readonly approval_id?: string;
  readonly classes?: readonly string[];
}

/** A run as far as it is known. */
export interface IRun {
  readonly id: string;
  readonly kind: 'chat' | 'execute' | 'notebook';
  readonly title: string;
  readonly status: RunStatus;
  /** The number of its last event. */
  readonly last_sequence_number: number;
  /** UTC, ISO 8601. */
  readonly created_at: string;
  readonly ended_at?: string;
  readonly session_id?: string;
  readonly chat_path?: string;
  readonly notebook_path?: string;
  /** Where the notebook of the run was saved. */
  readonly path?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly incomplete_details?: { readonly reason: string; readonly message: string };
  readonly required_action?: readonly IRequiredAction[];
}

export interface IRunEvent {
  readonly name: string;
  readonly data: Record<string, unknown>;
}

export const AWAY = 'The server does not answer. Try again when the lab is connected again.';

/** The runs that something else in this page follows to their end, and tells of. */
export const followed = new Set<string>();

async function request(call: string, init: RequestInit = {}): Promise<Response> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, 'caesarion/api/') + call;
  let answer: Response;
  try {
    answer = await ServerConnection.makeRequest(url, { cache: 'no-cache', ...init }, settings);
  } catch (error) {
    throw init.signal?.aborted ? error : new Error(AWAY);
  }
  if (!answer.ok) {
    const told = (await answer.json().catch(() => null)) as { message?: string } | null;
    throw new Error(told?.message ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

/** Send `body`, and return the answer; an error is a sentence. */
export async function post<Told>(call: string, body: object = {}): Promise<Told> {
  const answer = await request(call, { method: 'POST', body: JSON.stringify(body) });
  return (await answer.json()) as Told;
}

/** The newest runs. */
export async function listRuns(): Promise<IRun[]> {
  const answer = await request('runs?limit=50');
  return ((await answer.json()) as { runs: IRun[] }).runs;
}

export async function cancelRun(id: string): Promise<void> {
  await post(`runs/${encodeURIComponent(id)}/cancel`);
}

/** Yield the events of a run from its beginning to its end. */
export async function* runEvents(id: string, signal?: AbortSignal): AsyncGenerator<IRunEvent> {
  const call = `runs/${encodeURIComponent(id)}/events`;
  const answer = await request(call, signal ? { signal } : {});
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    const blocks = (rest + (value ?? '')).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, name] = /^event: (.*)$/m.exec(block) ?? [];
      const [, data] = /^data: (.*)$/m.exec(block) ?? [];
      if (name && data) {
        yield { name, data: JSON.parse(data) as Record<string, unknown> };
      }
    }
    if (done) {
      return;
    }
  }
}
