/**
 * The model's reasoning, folded: "Thinking for 3 s" while it streams, "Thought for 3 s"
 * afterwards. Made by cells.ts for the MIME type below, whose JSON the server's
 * chat/bundles.py writes.
 */

import {
  MimeModel,
  type IRenderMime,
  type IRenderMimeRegistry
} from '@jupyterlab/rendermime';
import { PanelLayout, Widget } from '@lumino/widgets';

import { formatSeconds } from './call';
import {
  isReasoningOpen,
  keepScrolled,
  restoreFocus,
  setReasoningOpen,
  whenConnected
} from './fold_state';

export const REASONING_MIME = 'application/vnd.caesarion.reasoning+json';

interface IReasoning {
  readonly id: string;
  readonly text: string;
  /** Seconds since the epoch. */
  readonly started: number;
  /** Missing while the model thinks; null if nobody knows how long it thought. */
  readonly seconds?: number | null;
}

function label(reasoning: IReasoning): string {
  const { seconds, started } = reasoning;
  if (seconds === undefined) {
    return `Thinking for ${rounded(Date.now() / 1000 - started)}`;
  }
  return seconds === null ? 'Thought' : `Thought for ${rounded(seconds)}`;
}

/** Tenths of a second would flicker, and tell nobody anything. */
function rounded(seconds: number): string {
  if (seconds < 1) {
    return 'a moment';
  }
  return seconds < 60 ? `${Math.round(seconds)} s` : formatSeconds(seconds);
}

/** Draws reasoning. It is made anew with every change; what must stay is in fold_state.ts. */
export class ReasoningRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(rendermime: IRenderMimeRegistry) {
    super({ node: document.createElement('details') });
    this.addClass('caesarion-reasoning');
    this._rendermime = rendermime;
    this._inside = new PanelLayout();
    this.layout = this._inside;
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const reasoning = model.data[REASONING_MIME] as unknown as IReasoning;
    const details = this.node as HTMLDetailsElement;
    const isThinking = reasoning.seconds === undefined;
    details.dataset.reasoning = reasoning.id;
    details.dataset.thinking = String(isThinking);
    details.open = isReasoningOpen(reasoning.id);
    details.append(this._summary(reasoning, isThinking));
    details.addEventListener('toggle', () => {
      setReasoningOpen(reasoning.id, details.open);
      void this._drawText(reasoning, isThinking);
    });
    await this._drawText(reasoning, isThinking);
    whenConnected(details, () => restoreFocus(details));
  }

  private _summary(reasoning: IReasoning, isThinking: boolean): HTMLElement {
    const summary = document.createElement('summary');
    summary.textContent = label(reasoning);
    if (isThinking) {
      const ticking = window.setInterval(() => {
        summary.textContent = label(reasoning);
        if (!summary.isConnected) {
          window.clearInterval(ticking);
        }
      }, 1000);
    }
    return summary;
  }

  /** Draw the text as Markdown once it can be seen: it changes often while it is folded. */
  private async _drawText(reasoning: IReasoning, isThinking: boolean): Promise<void> {
    if (this._isDrawn || !(this.node as HTMLDetailsElement).open) {
      return;
    }
    this._isDrawn = true;
    const text = this._rendermime.createRenderer('text/markdown');
    text.addClass('caesarion-reasoning-text');
    text.node.tabIndex = 0;
    text.node.setAttribute('role', 'region');
    text.node.setAttribute('aria-label', 'What the model thought');
    await text.renderModel(
      new MimeModel({ data: { 'text/markdown': reasoning.text }, trusted: false })
    );
    this._inside.addWidget(text);
    whenConnected(text.node, () => keepScrolled(reasoning.id, text.node, isThinking));
  }

  private readonly _rendermime: IRenderMimeRegistry;
  private readonly _inside: PanelLayout;
  private _isDrawn = false;
}
