/** What is said of a change, in the notebook, in the chat and to screen readers. Pure. */

import type { IChange } from './page_channel';

type Kind = IChange['operation']['kind'];

/** The parts of a change that its words are of. */
export interface IDescribed {
  readonly kind: Kind;
  readonly state: IChange['state'];
  readonly cellType: string;
}

const PROPOSED: Record<Kind, string> = {
  edit: 'Edit this cell',
  insert: 'New {} cell',
  delete: 'Delete this cell',
  move: 'Move this cell'
};

const APPLIED: Record<Kind, string> = {
  edit: 'Changed by the agent',
  insert: 'Added by the agent',
  delete: 'Deleted by the agent',
  move: 'Moved by the agent'
};

/** What a change is, as its title. */
export function titleOf({ kind, state, cellType }: IDescribed): string {
  return (state === 'proposed' ? PROPOSED : APPLIED)[kind].replace('{}', cellType);
}

/** The words of the two buttons of a change. */
export function buttonsOf(state: IChange['state']): { accept: string; reject: string } {
  return state === 'proposed'
    ? { accept: 'Accept', reject: 'Reject' }
    : { accept: 'Keep', reject: 'Undo' };
}

/** "3 changes". */
export function countOf(changes: number): string {
  return changes === 1 ? '1 change' : `${changes} changes`;
}

/** What waits in a notebook, in a sentence; empty if nothing does. */
export function summaryOf(changes: readonly IChange[]): string {
  const proposed = changes.filter(change => change.state === 'proposed').length;
  const applied = changes.length - proposed;
  const parts = [
    ...(proposed ? [`${countOf(proposed)} proposed`] : []),
    ...(applied ? [`${countOf(applied)} made by the agent`] : [])
  ];
  return parts.join(', ');
}
