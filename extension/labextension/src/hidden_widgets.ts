/**
 * What is hidden is drawn when it is shown.
 *
 * JupyterLab 4.6 draws all of its side panels while it opens one of them, each button by itself:
 * a third of what the page did until its chat could be typed into. Called by index.ts.
 */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

/** What is used of a widget, some of which is not public. */
interface IDrawn {
  readonly isAttached: boolean;
  readonly isVisible: boolean;
  readonly _rootDOM: unknown;
  onUpdateRequest(message: Message): void;
  processMessage(message: Message): void;
}

/** Keep the page from drawing what nobody sees yet. */
export function drawWhenShown(): void {
  const prototype = ReactWidget.prototype as unknown as IDrawn;
  const { onUpdateRequest, processMessage } = prototype;
  const waiting = new WeakSet<IDrawn>();
  prototype.onUpdateRequest = function (message) {
    // What is not attached may be put into the page by hand, which no message tells.
    if (this.isAttached && !this.isVisible && !this._rootDOM) {
      waiting.add(this);
    } else {
      onUpdateRequest.call(this, message);
    }
  };
  prototype.processMessage = function (message) {
    processMessage.call(this, message);
    if (message.type === 'after-show' && waiting.delete(this)) {
      this.onUpdateRequest(Widget.Msg.UpdateRequest);
    }
  };
}
