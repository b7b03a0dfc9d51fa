/**
 * A toolbar looks for what can have the focus once in a frame.
 *
 * Those of JupyterLab 4.6 do it twice for each button that is added, and let the browser lay out
 * the page for it each time. Called by index.ts.
 */

// Defines the element.
import '@jupyterlab/ui-components';

/** What of FAST's toolbar finds the elements that its arrow keys go through. */
interface IToolbar extends HTMLElement {
  focusableElements?: HTMLElement[];
  reduceFocusableElements?(): void;
}

/** Let toolbars look at their buttons when all are there. */
export function lookOnceInAFrame(): void {
  const prototype = customElements.get('jp-toolbar')?.prototype as IToolbar | undefined;
  const look = prototype?.reduceFocusableElements;
  if (!prototype || !look) {
    return;
  }
  const changed = new Set<IToolbar>();
  prototype.reduceFocusableElements = function () {
    this.focusableElements ??= [];
    if (!changed.size) {
      requestAnimationFrame(() => {
        const toolbars = [...changed];
        changed.clear();
        toolbars.filter(toolbar => toolbar.isConnected).forEach(toolbar => look.call(toolbar));
      });
    }
    changed.add(this);
  };
}
