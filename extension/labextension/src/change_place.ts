/** Where the changes of a notebook are drawn in it, and what is in the way of one. Pure. */

import type { Cell } from '@jupyterlab/cells';

import { sourceHash } from './notebook_model';
import type { IChange } from './page_channel';

/** Where a change is drawn: above a cell, in its node, or below it. */
export interface IPlace {
  readonly cell: Cell;
  readonly isBelow: boolean;
  /** Whether the cell is there that the change names. */
  readonly isThere: boolean;
}

type Cells = readonly Cell[];

const indexOf = (cells: Cells, id: string): number =>
  cells.findIndex(({ model }) => model.id === id);

/** Whether a change is drawn at its own cell: one that is not inserted yet, or deleted, has none. */
function isOfCell({ operation, state }: IChange): boolean {
  const absent = state === 'proposed' ? 'insert' : 'delete';
  return operation.kind !== absent;
}

/** Find the place of a change among `cells`; `changes` are those it may depend on. */
export function placeOf(change: IChange, changes: readonly IChange[], cells: Cells): IPlace {
  const { operation, above } = change;
  const last = cells[cells.length - 1]!;
  if (isOfCell(change)) {
    const cell = cells[indexOf(cells, operation.cell_id)];
    return { cell: cell ?? last, isBelow: !cell, isThere: cell !== undefined };
  }
  const after = operation.kind === 'delete' ? above : operation.after;
  if (!after) {
    return { cell: cells[0]!, isBelow: false, isThere: true };
  }
  const cell = cells[indexOf(cells, after)];
  // Below a cell that is itself only proposed.
  const other = changes.find(
    one => one !== change && one.operation.cell_id === after && !isOfCell(one)
  );
  return !cell && other
    ? placeOf(other, changes.filter(one => one !== change), cells)
    : { cell: cell ?? last, isBelow: true, isThere: cell !== undefined };
}

/** Return changes in the order of their places, and at one place as they are listed. */
export function sortByPlace(changes: readonly IChange[], cells: Cells): IChange[] {
  const ranked = changes.map(change => {
    const { cell, isBelow } = placeOf(change, changes, cells);
    return { change, rank: cells.indexOf(cell) + (isBelow ? 0.5 : 0) };
  });
  return ranked.sort((a, b) => a.rank - b.rank).map(({ change }) => change);
}

/** What is in the way of a change, or where a cell goes; `now` is the cell's source. */
export function noteOf(
  { operation, state }: IChange,
  isThere: boolean,
  now: string,
  cells: Cells
): string {
  const { kind, after, base_hash } = operation;
  if (!isThere) {
    return kind === 'insert' ? 'The cell above its place is gone.' : 'The cell is gone.';
  }
  if (state === 'applied') {
    return '';
  }
  if (base_hash !== undefined && sourceHash(now) !== base_hash) {
    return 'You have changed the cell since. To accept applies nothing, and lets the agent read it again.';
  }
  if (kind === 'move') {
    return after ? `Below cell ${indexOf(cells, after) + 1}` : 'To the top';
  }
  return '';
}
