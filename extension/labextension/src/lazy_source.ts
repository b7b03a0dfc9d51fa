/**
 * A place for a source or a difference that is drawn when it comes into view: a notebook may
 * have hundreds of changes. Called by change_view.ts and change_card.ts; calls cell_diff.ts.
 */

import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';

import type { IShown } from './cell_diff';

/** How far from the view it is drawn ahead. */
const MARGIN = '300px';

/** Pixels of a line, for the height of what is not drawn yet; the scrollbar should not jump. */
const LINE = 18;

const shown = new WeakMap<Element, () => void>();

const observer = new IntersectionObserver(
  entries => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        observer.unobserve(target);
        shown.get(target)?.();
      }
    }
  },
  { rootMargin: MARGIN }
);

/** Make an element that draws `what` when it is seen. */
export function makeSource(
  what: IShown,
  languages: IEditorLanguageRegistry
): HTMLElement {
  const node = document.createElement('div');
  node.className = 'caesarion-source';
  node.dataset.kind = what.before === null ? 'source' : 'difference';
  node.style.minHeight = `${what.after.split('\n').length * LINE}px`;
  shown.set(node, () => {
    void import('./cell_diff')
      .then(({ drawSource }) => drawSource(node, what, languages))
      .catch(() => {
        // The server is away, or has been updated since the page was loaded.
        node.textContent = what.after;
      })
      .finally(() => node.style.removeProperty('min-height'));
  });
  observer.observe(node);
  return node;
}
