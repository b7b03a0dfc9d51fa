/**
 * Showing code as what runs: all of it, and no character that cannot be seen or moves others.
 * Used by call.ts for the code of a call, which is drawn as Markdown, and by cell_diff.ts.
 */

/**
 * Characters that are not seen, or change the order in which others are seen: controls, formats
 * (soft hyphens, marks of direction, joiners, tags), separators, halves of characters, those that
 * Unicode does not have, and letters and variation selectors without a form.
 */
export const UNSEEN =
  /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Cn}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{1d159}\u{e0100}-\u{e01ef}]/gu;

/** A text with its lines ended as Python ends them. */
function normalise(text: string): string {
  return text.replace(/\r\n?/g, '\n');
}

/** Draw `code` in `node` character by character, if it is not what `node` shows. */
export function showExactly(node: HTMLElement, code: string): void {
  const lines = normalise(code);
  const isSeen = lines.search(UNSEEN) < 0;
  if (isSeen && (node.textContent ?? '').trimEnd() === lines.trimEnd()) {
    return;
  }
  const drawn = document.createElement('code');
  drawn.className = 'language-python';
  let from = 0;
  for (const { 0: character, index } of lines.matchAll(UNSEEN)) {
    const mark = document.createElement('mark');
    mark.className = 'caesarion-call-unseen';
    mark.textContent = nameOf(character);
    mark.title = 'A character that is not seen';
    drawn.append(lines.slice(from, index), mark);
    from = index + character.length;
  }
  drawn.append(lines.slice(from));
  const block = document.createElement('pre');
  block.append(drawn);
  node.replaceChildren(block);
}

/** `text` with the names of characters that are not seen in their places. */
export function withNames(text: string): string {
  return text.replace(UNSEEN, nameOf);
}

/** "U+202E". */
export function nameOf(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}
