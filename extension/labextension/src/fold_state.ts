/**
 * Fold state: which outputs of the chat are hidden, scrolled or shown whole. Used by call.ts
 * and output.ts, whose renderers are replaced with every update; this state lives as long
 * as the page.
 */

/** Calls whose outputs are hidden. */
const hidden = new Set<string>();

/** What hides them: a rule, which also holds for outputs that are only being drawn. */
const sheet = new CSSStyleSheet();
document.adoptedStyleSheets.push(sheet);

/** Long outputs that are shown whole, by call and number. */
const whole = new Set<string>();

/** How far boxes are scrolled that a reader has scrolled, in pixels, by key. */
const scrolled = new Map<string, number>();

/** Reasoning that is unfolded, by id. */
const openReasoning = new Set<string>();

/** Whether reasoning is unfolded. */
export function isReasoningOpen(id: string): boolean {
  return openReasoning.has(id);
}

/** The reasoning that the keyboard's focus is in; an update of the chat replaces its node. */
let focused = '';

/** The line of reasoning that the pointer is pressed on. */
let pressed: HTMLElement | null = null;

function lineAt(event: Event): HTMLElement | null {
  return (event.target as Element).closest<HTMLElement>('[data-reasoning] > summary');
}

function reasoningOf(line: HTMLElement | null): string {
  return line?.parentElement?.dataset.reasoning ?? '';
}

document.addEventListener('focusin', event => {
  focused = reasoningOf(lineAt(event));
});
document.addEventListener('pointerdown', event => {
  focused = '';
  pressed = lineAt(event);
});
document.addEventListener('pointerup', event => {
  const released = lineAt(event);
  // The browser makes no click of a press on a node that was replaced meanwhile.
  if (pressed && released !== pressed && reasoningOf(pressed) === reasoningOf(released)) {
    released?.click();
  }
  pressed = null;
});

/** Give the focus back to reasoning whose node replaces the one that had it. */
export function restoreFocus(details: HTMLElement): void {
  if (details.dataset.reasoning === focused && document.activeElement === document.body) {
    details.querySelector('summary')?.focus({ preventScroll: true });
  }
}

/**
 * Call `action` when `node` is in the document, if it ever is.
 *
 * jupyterlab-chat 0.25 puts a renderer's node there a moment after the renderer was told so
 * (AfterAttach).
 */
export function whenConnected(node: HTMLElement, action: () => void, frames = 30): void {
  if (node.isConnected) {
    action();
  } else if (frames > 0) {
    requestAnimationFrame(() => whenConnected(node, action, frames - 1));
  }
}

/** Remember whether reasoning is unfolded. */
export function setReasoningOpen(id: string, open: boolean): void {
  if (open) {
    openReasoning.add(id);
  } else {
    openReasoning.delete(id);
  }
}

/** Whether the outputs of a call are hidden. */
export function isFolded(call: string): boolean {
  return hidden.has(call);
}

/** Hide the outputs of a call, or show them again. */
export function toggleOutputs(call: string): void {
  if (!hidden.delete(call)) {
    hidden.add(call);
  }
  // Each output is a message of its own, whose room goes, too.
  const rules = [...hidden].map(
    id =>
      `.jp-chat-message:has(> * .caesarion-output[data-call="${CSS.escape(id)}"])` +
      ' { display: none }'
  );
  sheet.replaceSync(rules.join('\n'));
}

/**
 * Let a long output scroll in a box, or show it whole; `button` toggles. The box shows
 * its end if `fromEnd`, as the newest lines of a log do, else its head, as a table's does.
 */
export function makeScrollBox(
  key: string,
  box: HTMLElement,
  button: HTMLButtonElement,
  fromEnd: boolean
): void {
  const show = (): void => {
    const all = whole.has(key);
    box.classList.toggle('caesarion-boxed', !all);
    button.textContent = all ? 'Show less' : 'Show all';
    button.setAttribute('aria-expanded', String(all));
  };
  button.addEventListener('click', () => {
    if (!whole.delete(key)) {
      whole.add(key);
    }
    show();
  });
  show();
  keepScrolled(key, box, fromEnd);
}

/** Scroll `box` to where its reader has left it; first to its end if `fromEnd`, else to its head. */
export function keepScrolled(
  key: string,
  box: HTMLElement,
  fromEnd: boolean
): void {
  const start = (): number => (fromEnd ? box.scrollHeight - box.clientHeight : 0);
  box.scrollTop = scrolled.get(key) ?? start();
  box.addEventListener('scroll', () => {
    if (Math.abs(start() - box.scrollTop) < 8) {
      scrolled.delete(key);
    } else {
      scrolled.set(key, box.scrollTop);
    }
  });
}
