/**
 * Reading and changing a notebook that is open in this page, on JupyterLab's shared model:
 * what a person has not saved yet is there, and what is changed can be undone.
 *
 * Called by page_channel.ts for the server, whose notebooks/cells.py does the same to files:
 * both refuse the same operations. An operation is one transaction and one step of the undo
 * history: an edit that of its cell, everything else that of the notebook.
 */

import type { ISharedCell, ISharedNotebook } from '@jupyter/ydoc';
import type { ICodeCellModel } from '@jupyterlab/cells';
import {
  isCode,
  type CellType,
  type ICell,
  type IMimeBundle,
  type IOutput,
  type MultilineString
} from '@jupyterlab/nbformat';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { PartialJSONObject } from '@lumino/coreutils';

import { sha256 } from './sha256';

/** What the agent wants to do to one cell. */
export interface IOperation {
  readonly id: string;
  readonly kind: 'edit' | 'insert' | 'delete' | 'move';
  /** The cell; of an insertion the id that the new cell gets. */
  readonly cell_id: string;
  readonly source?: string;
  readonly cell_type?: CellType;
  /** The cell above the place; null is the top of the notebook. */
  readonly after?: string | null;
  /** The hash of the source that the model has read. */
  readonly base_hash?: string;
  /** The other parts of a cell that comes back: its metadata, outputs and attachments. */
  readonly cell?: Partial<ICell>;
}

/** What marks a changed cell, in its metadata: the answer that changed it, and when. */
export type Mark = PartialJSONObject;

export interface IApplied {
  readonly cell_id: string;
  /** Of the cell's source now; empty if the cell is deleted. */
  readonly hash: string;
}

/** The outputs of a run by the agent. */
export interface IRunOutputs {
  readonly cell_id: string;
  readonly execution_count: number | null;
  readonly outputs: IOutput[];
  /** The hash of the source that ran. */
  readonly source_hash: string;
  readonly state: 'running' | 'idle';
  /** Whether these follow the outputs that are there. */
  readonly append: boolean;
}

export type ErrorCode = 'stale' | 'unknown_cell' | 'closed' | 'failed';

/** Why something was not done. */
export class NotebookError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** The source as it is, of a cell that has changed meanwhile. */
    readonly source?: string
  ) {
    super(message);
  }
}

/** The first 12 hex digits of the SHA-256 of a source. */
export function sourceHash(source: string): string {
  return sha256(source).slice(0, 12);
}

function modelOf(panel: NotebookPanel): ISharedNotebook {
  const model = panel.content.model;
  if (!model) {
    throw new NotebookError('closed', `${panel.context.localPath} is not open any more.`);
  }
  return model.sharedModel;
}

function indexOf(notebook: ISharedNotebook, id: string): number {
  const index = notebook.cells.findIndex(cell => cell.getId() === id);
  if (index < 0) {
    throw new NotebookError('unknown_cell', `There is no cell ${id} in the notebook.`);
  }
  return index;
}

/** The index that a cell gets whose neighbour above is `after`. */
function indexAfter(notebook: ISharedNotebook, after: string | null | undefined): number {
  return after ? indexOf(notebook, after) + 1 : 0;
}

/** Characters of one text of an output that are read; the server tells a model less. */
const LONGEST_TEXT = 100_000;

/** Return a cell without outputs, or with those parts of them that are text. */
function withOutputs(cell: ICell, wanted: 'text' | 'none'): ICell {
  if (wanted === 'none') {
    const { attachments: _, ...rest } = cell;
    return isCode(rest) ? { ...rest, outputs: [] } : rest;
  }
  return isCode(cell) ? { ...cell, outputs: cell.outputs.map(textOf) } : cell;
}

/** Return an output whose images and other media are empty, and whose texts are bounded. */
function textOf(output: IOutput): IOutput {
  const { data, text } = output as { data?: IMimeBundle; text?: MultilineString };
  if (data) {
    const bounded = Object.entries(data).map(([mime, value]) => [
      mime,
      mime.startsWith('text/') ? bound(value as MultilineString) : mime === JSON_MIME ? value : ''
    ]);
    return { ...output, data: Object.fromEntries(bounded) as IMimeBundle };
  }
  return text === undefined ? output : { ...output, text: bound(text) };
}

const JSON_MIME = 'application/json';

function bound(text: MultilineString): string {
  const whole = Array.isArray(text) ? text.join('') : text;
  const half = LONGEST_TEXT / 2;
  return whole.length > LONGEST_TEXT ? whole.slice(0, half) + whole.slice(-half) : whole;
}

/**
 * Return the notebook as it is in the page; old formats get the ids that the page has given.
 * `outputs` says which are wanted: images make a notebook large, and most readers need none.
 */
export function readNotebook(
  panel: NotebookPanel,
  { outputs }: Record<string, unknown>
): { notebook: unknown; dirty: boolean } {
  const shared = modelOf(panel);
  const json = shared.toJSON();
  const cells = shared.cells.map(cell => {
    const read: ICell = { ...cell.toJSON(), id: cell.getId() };
    return outputs === 'text' || outputs === 'none' ? withOutputs(read, outputs) : read;
  });
  return {
    notebook: { ...json, nbformat_minor: Math.max(5, json.nbformat_minor), cells },
    dirty: panel.content.model?.dirty ?? false
  };
}

function refuseStale(cell: ISharedCell, base: string | undefined): void {
  const source = cell.getSource();
  if (base !== undefined && base !== sourceHash(source)) {
    throw new NotebookError('stale', `Cell ${cell.getId()} has been changed meanwhile.`, source);
  }
}

/** Refuse to change a cell that its person has locked. */
function refuseLocked(cell: ISharedCell, key: 'editable' | 'deletable'): void {
  if (cell.getMetadata(key) === false) {
    throw new NotebookError('failed', `Cell ${cell.getId()} is locked: it is not ${key}.`);
  }
}

/** The part of Yjs' undo manager that is used here; ydoc 4 has it, its interfaces do not. */
interface IHistory {
  readonly undoStack: readonly unknown[];
  stopCapturing(): void;
}

function historyOf(model: ISharedCell | ISharedNotebook): IHistory | null {
  return (model as { undoManager?: IHistory | null }).undoManager ?? null;
}

/** Let what follows be an undo step of its own, also right after somebody's typing. */
function asOneStep(model: ISharedCell | ISharedNotebook, act: () => void): void {
  // Undo managers put what is less than half a second apart into one step.
  const history = historyOf(model);
  history?.stopCapturing();
  model.transact(act);
  history?.stopCapturing();
}

/**
 * Return a function that undoes what `operation` has just done, as the person's own undo does, and
 * tells whether it did: not if something was done in the meantime, or undone.
 */
export function makeUndo(panel: NotebookPanel, { kind, cell_id }: IOperation): () => boolean {
  const find = (): ISharedCell | ISharedNotebook | undefined => {
    const notebook = panel.content.model?.sharedModel;
    return kind === 'edit' ? notebook?.cells.find(cell => cell.getId() === cell_id) : notebook;
  };
  const depth = (): number | undefined => {
    const model = find();
    return model && historyOf(model)?.undoStack.length;
  };
  const then = depth();
  return () => then !== undefined && then > 0 && depth() === then && (find()!.undo() ?? true);
}

/** The cell of an operation that does not need to be done, as the notebook is that way already. */
function findDone(notebook: ISharedNotebook, operation: IOperation): ISharedCell | undefined {
  const { kind, cell_id, source, after = null } = operation;
  const { cells } = notebook;
  const index = cells.findIndex(cell => cell.getId() === cell_id);
  const done = {
    edit: () => cells[index]!.getSource() === source,
    insert: () => true,
    delete: () => false,
    move: () => (cells[index - 1]?.getId() ?? null) === after
  };
  return index >= 0 && done[kind]() ? cells[index] : undefined;
}

/**
 * Apply `operation`, or refuse it by throwing a NotebookError; then nothing has changed. What is
 * there already is not done again. Without a mark an operation undoes another one.
 */
export function applyOperation(
  panel: NotebookPanel,
  operation: IOperation,
  mark: Mark | null
): IApplied {
  const notebook = modelOf(panel);
  const { kind, cell_id, after } = operation;
  const done = findDone(notebook, operation);
  if (done) {
    return { cell_id, hash: sourceHash(done.getSource()) };
  }
  if (kind === 'insert') {
    const index = indexAfter(notebook, after);
    const { cell_type = 'code', source = '', cell } = operation;
    // Of a cell that comes back, too, scripts in outputs do not run: see showOutputs.
    const { trusted: _, ...metadata } = cell?.metadata ?? {};
    asOneStep(notebook, () => {
      notebook.insertCell(index, {
        ...(cell_type === 'code' ? { outputs: [], execution_count: null } : {}),
        ...cell,
        metadata: { ...metadata, ...(mark ? { caesarion: mark } : {}) },
        id: cell_id,
        cell_type,
        source
      });
    });
    return { cell_id, hash: sourceHash(source) };
  }
  const index = indexOf(notebook, cell_id);
  const cell = notebook.getCell(index);
  const source = operation.source ?? cell.getSource();
  refuseStale(cell, operation.base_hash);
  if (kind === 'edit') {
    refuseLocked(cell, 'editable');
    asOneStep(cell, () => {
      cell.setSource(source);
      setMark(cell, mark);
    });
  } else if (kind === 'delete') {
    refuseLocked(cell, 'deletable');
    asOneStep(notebook, () => notebook.deleteCell(index));
    return { cell_id, hash: '' };
  } else {
    const target = indexAfter(notebook, after);
    if (after === cell_id) {
      throw new NotebookError('unknown_cell', `Cell ${cell_id} cannot be moved below itself.`);
    }
    // The cell leaves a gap above its new place.
    const to = target > index ? target - 1 : target;
    asOneStep(notebook, () => {
      // Before the move, which makes the cell anew: its list has the new one only afterwards.
      setMark(cell, mark);
      notebook.moveCell(index, to);
    });
  }
  return { cell_id, hash: sourceHash(source) };
}

function setMark(cell: ISharedCell, mark: Mark | null): void {
  if (mark) {
    cell.setMetadata('caesarion', mark);
  }
}

/**
 * Show the outputs of a run by the agent, and how far it is. A cell that has another source by
 * now gets none of them.
 */
export function showOutputs(panel: NotebookPanel, run: IRunOutputs): void {
  const index = indexOf(modelOf(panel), run.cell_id);
  const model = panel.content.model!.cells.get(index);
  if (model.type !== 'code') {
    throw new NotebookError('failed', `Cell ${run.cell_id} is not a code cell.`);
  }
  const cell = model as ICodeCellModel;
  if (sourceHash(cell.sharedModel.getSource()) !== run.source_hash) {
    cell.executionState = 'idle';
    refuseStale(cell.sharedModel, run.source_hash);
  }
  // Scripts in outputs of the agent's runs do not run in the page: with the person's session
  // they could decide for them. When people run a cell themselves, JupyterLab trusts it.
  cell.trusted = false;
  cell.sharedModel.deleteMetadata('trusted');
  if (!run.append) {
    cell.outputs.clear(run.outputs.length > 0);
  }
  run.outputs.forEach(output => cell.outputs.add(output));
  cell.executionCount = run.execution_count;
  cell.executionState = run.state;
}
