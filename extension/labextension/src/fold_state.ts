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

/** Outputs that are not looked at from their end: how far each is scrolled, in pixels. */
const scrolled = new Map<string, number>();

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

/** Let a long output scroll in a box, or show it whole; `button` toggles. */
export function makeScrollBox(
  key: string,
  box: HTMLElement,
  button: HTMLButtonElement
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
  box.scrollTop = scrolled.get(key) ?? box.scrollHeight;
  box.addEventListener('scroll', () => {
    if (box.scrollHeight - box.scrollTop - box.clientHeight < 8) {
      scrolled.delete(key);
    } else {
      scrolled.set(key, box.scrollTop);
    }
  });
}
