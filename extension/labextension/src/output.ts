/**
 * An output in the chat, drawn by JupyterLab's own OutputArea and never trusted.
 * Made by cells.ts for the MIME type below, with which the server's chat/call_outputs.py
 * marks the bundle that an output is; the rest of the bundle is what is drawn.
 */

import type { IDisplayData, IOutput, MultilineString } from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Panel, Widget } from '@lumino/widgets';

import { makeScrollBox } from './fold_state';

export const OUTPUT_MIME = 'application/vnd.caesarion.output+json';

const STDERR = 'application/vnd.jupyter.stderr';

/** Pixels of height above which an output scrolls in a box. */
const HIGH = 320;

interface IMark {
  readonly call: string;
  readonly output_type: 'stream' | 'error' | 'display_data' | 'execute_result';
  readonly number: number;
  readonly execution_count?: number;
}

/** Return the nbformat output that a bundle of the chat is. */
function outputOf(mark: IMark, data: ReadonlyPartialJSONObject): IOutput {
  const { [OUTPUT_MIME]: _, ...rest } = data;
  const failed = STDERR in data;
  const text = (failed ? data[STDERR] : data['text/plain']) as MultilineString;
  switch (mark.output_type) {
    case 'stream':
      return {
        output_type: 'stream',
        name: failed ? 'stderr' : 'stdout',
        text
      };
    case 'error':
      return { output_type: 'error', ename: '', evalue: '', traceback: [String(text)] };
    default:
      return {
        output_type: 'display_data',
        data: rest as IDisplayData['data'],
        metadata: {}
      };
  }
}

/** Draws an output. It is made anew with every change; what must stay is in fold_state.ts. */
export class OutputRenderer extends Panel implements IRenderMime.IRenderer {
  constructor(rendermime: IRenderMimeRegistry) {
    super();
    this.addClass('caesarion-output');
    this._rendermime = rendermime;
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const mark = model.data[OUTPUT_MIME] as unknown as IMark;
    this.node.dataset.call = mark.call;
    this.node.dataset.kind = mark.output_type;
    const prompt = document.createElement('div');
    prompt.className = 'caesarion-output-prompt';
    if (mark.execution_count) {
      prompt.textContent = `Out[${mark.execution_count}]:`;
    }
    const output = outputOf(mark, model.data);
    const area = new SimplifiedOutputArea({
      model: new OutputAreaModel({ trusted: false, values: [output] }),
      rendermime: this._rendermime
    });
    const box = new Panel();
    box.addClass('caesarion-output-box');
    box.addWidget(area);
    this.addWidget(new Widget({ node: prompt }));
    this.addWidget(box);
    const fromEnd = ['stream', 'error'].includes(mark.output_type);
    this._boxWhenHigh(`${mark.call} ${mark.number}`, box, area.node, fromEnd);
  }

  /** Put the output into a box as soon as it turns out to be long; pictures never are. */
  private _boxWhenHigh(
    key: string,
    box: Panel,
    drawn: HTMLElement,
    fromEnd: boolean
  ): void {
    const observer = new ResizeObserver(() => {
      if (drawn.offsetHeight <= HIGH) {
        return;
      }
      observer.disconnect();
      if (!drawn.querySelector('img, canvas, video')) {
        const button = document.createElement('button');
        button.type = 'button';
        button.className = 'caesarion-output-all';
        this.addWidget(new Widget({ node: button }));
        box.node.tabIndex = 0;
        makeScrollBox(key, box.node, button, fromEnd);
      }
    });
    observer.observe(drawn);
  }

  private readonly _rendermime: IRenderMimeRegistry;
}
