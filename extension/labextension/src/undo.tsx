/**
 * *Undo this turn*: the button below an answer that has changed notebooks, and what came of it.
 * Drawn by message_footer.tsx. The server has the checkpoints, and says which turns can be undone;
 * cells that were changed since are proposed in their notebooks as they were.
 */

import type { IChatModel, IMessage } from '@jupyter/chat';
import { UseSignal } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { undoIcon } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { undoTurn, type IUndone } from './decision';
import type { IOpenNotebooks } from './open_notebooks';

/** Where a turn stands; one that has no checkpoint any more is undefined. */
type State = 'changed' | 'undone' | undefined;

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** Say what an undo did. */
export function describeUndone(undone: IUndone): string {
  const { restored, conflicts, problems, note } = undone;
  const words: string[] = [];
  if (restored || !(conflicts.length || problems.length)) {
    words.push(`${count(restored, 'cell')} restored.`);
  }
  if (conflicts.length === 1) {
    words.push('1 cell was changed since: the notebook proposes it as it was.');
  } else if (conflicts.length) {
    words.push(
      `${conflicts.length} cells were changed since: the notebook proposes them as they were.`
    );
  }
  return [...words, ...problems, note].join(' ');
}

/** Chats in which an undo has left something to be decided. */
const undecided = new Set<Turns>();

/** The turns of one chat that can be undone. */
class Turns {
  constructor(private readonly _model: IChatModel) {
    _model.disposed.connect(() => {
      undecided.delete(this);
      Signal.clearData(this);
    });
  }

  get changed(): ISignal<Turns, void> {
    return this._changed;
  }

  state(turn: string): State {
    if (!this._asked.has(turn)) {
      // A turn that is not known ended after the server was asked. All that are drawn now are
      // asked about at once.
      this._asked.add(turn);
      this._timer ||= window.setTimeout(() => {
        this._timer = 0;
        void this.ask();
      });
    }
    return this._states[turn];
  }

  said(turn: string): string {
    return this._said.get(turn) ?? '';
  }

  isBusy(turn: string): boolean {
    return this._busy.has(turn);
  }

  async undo(turn: string): Promise<void> {
    this._busy.add(turn);
    this._changed.emit();
    const { problem, told } = await undoTurn(this._model.id ?? '', turn);
    this._said.set(turn, told ? describeUndone(told) : problem);
    this._busy.delete(turn);
    if (told?.conflicts.length) {
      undecided.add(this);
    }
    await this.ask();
  }

  /** Ask the server where the turns stand. */
  async ask(): Promise<void> {
    const settings = ServerConnection.makeSettings();
    const url =
      URLExt.join(settings.baseUrl, 'caesarion/api/undo') +
      URLExt.objectToQueryString({ chat: this._model.id ?? '' });
    try {
      const answer = await ServerConnection.makeRequest(url, {}, settings);
      if (answer.ok) {
        this._states = ((await answer.json()) as { turns: Record<string, State> }).turns;
      }
    } catch {
      // The server is away: what was known stays shown.
    }
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _asked = new Set<string>();
  private readonly _busy = new Set<string>();
  private readonly _said = new Map<string, string>();
  private _timer = 0;
  private _states: Record<string, State> = {};
}

/** Follow what people decide in notebooks about cells that an undo has proposed. */
export function followDecisions(openNotebooks: IOpenNotebooks): void {
  openNotebooks.changed.connect(() => undecided.forEach(turns => void turns.ask()));
}

const chats = new WeakMap<IChatModel, Turns>();

function turnsOf(model: IChatModel): Turns {
  const known = chats.get(model) ?? new Turns(model);
  chats.set(model, known);
  return known;
}

/** The question of the turn that `message` ends, if the turn has changed notebooks. */
export function undoableTurn(message: IMessage): string | undefined {
  const ours = message.metadata?.caesarion as { undo?: boolean; question?: string } | undefined;
  return ours?.undo ? ours.question : undefined;
}

/** The button below an answer. */
export function UndoTurn(props: { model: IChatModel; turn: string }): JSX.Element {
  const { model, turn } = props;
  const turns = turnsOf(model);
  return (
    <UseSignal signal={turns.changed}>
      {() => {
        const state = turns.state(turn);
        const said = turns.said(turn);
        return (
          <div className="jp-Caesarion-undo">
            {state === 'changed' && (
              <button
                type="button"
                title="Take back what this answer did to notebooks. Variables and files stay as they are."
                disabled={turns.isBusy(turn)}
                onClick={event => event.nativeEvent.isTrusted && void turns.undo(turn)}
              >
                <undoIcon.react tag="span" aria-hidden="true" />
                Undo this turn
              </button>
            )}
            {state === 'undone' && <span className="jp-Caesarion-undone">Undone.</span>}
            <span role="status">{said}</span>
          </div>
        );
      }}
    </UseSignal>
  );
}
