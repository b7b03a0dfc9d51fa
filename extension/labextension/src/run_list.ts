/**
 * The runs of this server as this page knows them. The server tells each change over
 * page_channel.ts; the list is read anew whenever that connection comes back. Used by runs.tsx.
 */

import { PageConfig } from '@jupyterlab/coreutils';
import { Signal, type ISignal } from '@lumino/signaling';

import { cancelRun, listRuns, post, type IRun } from './run_client';

const WAITS = 'requires_action';

export function isActive(run: IRun): boolean {
  return ['queued', 'in_progress', WAITS].includes(run.status);
}

export function waits(run: IRun): boolean {
  return run.status === WAITS;
}

/** A run to tell of; `wasAway` says that no page of this browser was there when it changed. */
export interface IDue {
  readonly run: IRun;
  readonly wasAway: boolean;
}

export class RunList {
  constructor(changed: ISignal<unknown, IRun | null>) {
    changed.connect((_, run) => {
      if (run) {
        this._take([run], false);
      } else {
        void this._load();
      }
    });
    // The connection may have been there before.
    void this._load();
  }

  /** The newest first. */
  get all(): readonly IRun[] {
    return [...this._runs.values()].sort((a, b) => b.created_at.localeCompare(a.created_at));
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted when a run has ended or waits for a person. */
  get due(): ISignal<this, IDue> {
    return this._due;
  }

  /** Why the list could not be read; empty if it could. */
  get problem(): string {
    return this._problem;
  }

  async begin(body: object): Promise<IRun> {
    const run = await post<IRun>('runs', body);
    this._take([run], false);
    return run;
  }

  async cancel(run: IRun): Promise<void> {
    await cancelRun(run.id);
  }

  private async _load(): Promise<void> {
    try {
      const runs = await listRuns();
      this._problem = '';
      const kept = new Set(runs.map(({ id }) => id));
      // Those that are not listed are deleted, or have begun since the list was made.
      for (const run of this._runs.values()) {
        if (!kept.has(run.id) && !isActive(run)) {
          this._runs.delete(run.id);
        }
      }
      this._take(runs, true);
    } catch (error) {
      this._problem = error instanceof Error ? error.message : String(error);
      this._changed.emit();
    }
  }

  private _take(runs: readonly IRun[], wasAway: boolean): void {
    const active = this._active();
    for (const run of runs) {
      const known = this._runs.get(run.id);
      if (known && known.last_sequence_number > run.last_sequence_number) {
        continue; // An answer that was overtaken by what the server has told since.
      }
      const told = active.get(run.id);
      this._runs.set(run.id, run);
      if (isActive(run)) {
        active.set(run.id, run.status);
      } else {
        active.delete(run.id);
      }
      if (told && told !== run.status && (waits(run) || !isActive(run))) {
        this._due.emit({ run, wasAway });
      }
    }
    window.localStorage.setItem(this._key, JSON.stringify([...active]));
    this._changed.emit();
  }

  /** The runs that went on when a page last heard of them, and their status, by id. */
  private _active(): Map<string, string> {
    try {
      const kept = window.localStorage.getItem(this._key) ?? '[]';
      return new Map(JSON.parse(kept) as [string, string][]);
    } catch {
      return new Map();
    }
  }

  private readonly _key = `caesarion:runs:${PageConfig.getBaseUrl()}`;
  private readonly _runs = new Map<string, IRun>();
  private _problem = '';
  private readonly _changed = new Signal<this, void>(this);
  private readonly _due = new Signal<this, IDue>(this);
}
