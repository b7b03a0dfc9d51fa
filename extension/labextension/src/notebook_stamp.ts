/**
 * A notebook and a cell of it as a message carries them, for context.tsx and error_actions.ts; the
 * server's chat/context.py reads them.
 */

import type { Cell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';

/** Characters of a cell, and of what is selected in it, that are sent at most. */
const SOURCE = 4000;

/** Characters of an error that are sent at most; the server tells the model 8 KiB. */
const ERROR = 8000;

/** Terminal colours and other escape sequences. */
// eslint-disable-next-line no-control-regex
const ANSI = /\x1b\[[0-?]*[ -/]*[@-~]/g;

/** A cell as the message carries it; `number` counts from 1, `cut` says that `source` is not all. */
export interface ICell {
  id: string;
  number: number;
  kind: string;
  execution_count: number | null;
  source: string;
  cut: boolean;
  selection: string;
}

/** The error that a cell shows. */
export interface ICellError {
  name: string;
  text: string;
}

/** An error output as nbformat has it. */
export interface IErrorOutput {
  readonly ename?: string;
  readonly evalue?: string;
  readonly traceback?: readonly string[];
}

/** The beginning of `text`; the agent is told how much is missing. */
function clipped(text: string): string {
  const over = text.length - SOURCE;
  return over > 0
    ? `${text.slice(0, SOURCE)}\n[... ${over.toLocaleString('en')} characters left out ...]`
    : text;
}

/** The kernel of `panel`, if the agent's code, which is Python, can run there. */
export function pythonKernel(panel: NotebookPanel | null): string | undefined {
  const context = panel?.sessionContext;
  const kernel = context?.session?.kernel;
  const specs = context?.specsManager.specs?.kernelspecs;
  const language = kernel && specs?.[kernel.name]?.language;
  return !language || language.toLowerCase() === 'python'
    ? kernel?.id
    : undefined;
}

/** The cell of `panel` as a message carries it, with what is selected in it. */
export function describeCell(panel: NotebookPanel, cell: Cell): ICell {
  const { sharedModel } = cell.model;
  const source = sharedModel.getSource();
  const range = cell.editor?.getSelection();
  const ends = range
    ? [range.start, range.end].map(end => cell.editor!.getOffsetAt(end))
    : [0, 0];
  return {
    id: sharedModel.getId(),
    number: panel.content.widgets.indexOf(cell) + 1,
    kind: sharedModel.cell_type,
    execution_count:
      'execution_count' in sharedModel
        ? (sharedModel.execution_count as number | null)
        : null,
    source: clipped(source),
    cut: source.length > SOURCE,
    selection: clipped(source.slice(Math.min(...ends), Math.max(...ends)))
  };
}

/** An error output without colours; of a long one the beginning and, above all, the end. */
export function describeError(output: IErrorOutput): ICellError {
  const name = output.ename ?? '';
  const text = (
    output.traceback?.join('\n') || `${name}: ${output.evalue ?? ''}`
  ).replace(ANSI, '');
  const over = text.length - ERROR;
  const head = ERROR / 4;
  return {
    name,
    text:
      over > 0
        ? `${text.slice(0, head)}\n[... ${over.toLocaleString('en')} characters left out ...]\n${text.slice(head + over)}`
        : text
  };
}
