/**
 * HTML without anything that loads by itself: a picture that lies elsewhere becomes a link. Nor
 * does it look like a part of the lab, cover one, or show other code than is copied.
 *
 * Used by chat_rendermime.ts, behind the lab's sanitiser. An agent that was misled, a file
 * or another person could else send what is in a chat to any host, by naming a picture
 * there.
 */

/** Attributes whose address is loaded only by a click. */
const CLICKED: Record<string, readonly string[]> = {
  A: ['href'],
  AREA: ['href']
};

/** Attributes that may hold an address, in HTML or in SVG. */
const ADDRESSES = new Set([
  ...['action', 'background', 'cite', 'classid', 'code', 'codebase', 'data'],
  ...['dynsrc', 'formaction', 'href', 'icon', 'imagesrcset', 'longdesc', 'lowsrc'],
  ...['manifest', 'ping', 'poster', 'profile', 'src', 'srcdoc', 'srcset', 'xlink:href']
]);

/** Elements of media, and what a link in their place is called. */
const MEDIA: Record<string, string> = {
  AUDIO: 'Sound',
  EMBED: 'Content',
  IFRAME: 'Page',
  IMG: 'Picture',
  INPUT: 'Picture',
  OBJECT: 'Content',
  SOURCE: 'Media',
  TRACK: 'Subtitles',
  VIDEO: 'Video'
};

/** CSS functions that load something, as the browser writes them after parsing. */
const LOADING = /(?:url|src|image|image-set|cross-fade|element|paint|var)\(/i;

/**
 * Classes that a renderer of the lab gives: of code, diagrams and tables. All others go, those of
 * CodeMirror's parts as well: one of them takes what has it out of sight.
 */
const CLASSES = /^(?:language-|tok-|\u037c|jp-(?:Rendered)?[Mm]ermaid|dataframe$)/;

/** Whether `address` holds its content itself. */
function isInline(address: string): boolean {
  return /^data:image\/(?:png|jpe?g|gif|webp|bmp|svg\+xml)[;,]/i.test(address.trim());
}

/** Return `html`, which the lab's sanitiser has made, without what loads by itself. */
export function withoutRemoteContent(html: string): string {
  // A document of its own loads nothing.
  const { body } = new DOMParser().parseFromString(html, 'text/html');
  for (const element of body.querySelectorAll<HTMLElement>('*')) {
    dropAddresses(element);
    dropStyles(element);
    dropDisguise(element);
  }
  showCode(body);
  return body.innerHTML;
}

function dropAddresses(element: HTMLElement): void {
  let dropped = '';
  for (const { name, value } of [...element.attributes]) {
    const keeps =
      !ADDRESSES.has(name) ||
      (CLICKED[element.tagName]?.includes(name) && !runsScript(value)) ||
      (element.tagName === 'IMG' && name === 'src' && isInline(value));
    if (!keeps) {
      element.removeAttribute(name);
      dropped ||= name.includes('src') || name === 'data' ? value : '';
    }
  }
  const what = MEDIA[element.tagName];
  if (dropped && what) {
    const link = linkTo(dropped.trim(), what, element.getAttribute('alt') ?? '');
    const media = element.closest('audio, video, picture') ?? element;
    media.after(link);
  }
}

/** Whether a link is no address, but script: a setting of the lab's may let it through. */
function runsScript(address: string): boolean {
  try {
    return /^(?:javascript|vbscript|data):$/.test(new URL(address, document.baseURI).protocol);
  } catch {
    return true;
  }
}

/** Return a link that is followed by a click, or its words if `address` is none. */
function linkTo(address: string, what: string, alt: string): HTMLElement {
  const link = document.createElement('a');
  const words = alt ? `${what}: ${alt}` : what;
  try {
    const { host, href, protocol } = new URL(address, document.baseURI);
    if (!['http:', 'https:'].includes(protocol)) {
      throw new TypeError(protocol);
    }
    link.textContent = `${words} (on ${host}, not loaded)`;
    link.href = href;
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    link.className = 'caesarion-remote';
  } catch {
    const text = document.createElement('span');
    text.textContent = words;
    return text;
  }
  return link;
}

function dropStyles({ style }: HTMLElement): void {
  for (const name of [...style]) {
    // A variable of the theme may stand for a picture elsewhere in the page.
    if (name.startsWith('--') || LOADING.test(style.getPropertyValue(name))) {
      style.removeProperty(name);
    }
  }
}

/** Drop what the lab's own style sheets act on, and what hides an element. */
function dropDisguise(element: HTMLElement): void {
  element.classList.remove(...[...element.classList].filter(name => !CLASSES.test(name)));
  element.removeAttribute('inert');
  element.removeAttribute('hidden');
}

/** What may be in code: the words of a highlighter, and links. Other elements can hide text. */
const IN_CODE = new Set(['A', 'B', 'BR', 'CODE', 'EM', 'I', 'MARK', 'PRE', 'SPAN', 'STRONG']);
const OF_CODE = new Set(['class', 'href', 'rel', 'target']);

/** Let all of each piece of code be seen: what is copied is what is read. */
function showCode(body: HTMLElement): void {
  const around = new Set<Element>();
  for (const code of body.querySelectorAll('pre, code')) {
    for (let at = code.parentElement; at && !around.has(at); at = at.parentElement) {
      around.add(at);
    }
  }
  around.forEach(element => element.removeAttribute('style'));
  for (const element of body.querySelectorAll('pre, code, pre *, code *')) {
    if (!IN_CODE.has(element.tagName)) {
      element.replaceWith(...element.childNodes);
      continue;
    }
    for (const { name } of [...element.attributes]) {
      if (!OF_CODE.has(name)) {
        element.removeAttribute(name);
      }
    }
  }
}

/**
 * Whether a diagram or a formula might name an address, however it is written.
 *
 * An address on another host has two slashes or the name of its protocol; entities, escapes
 * and blanks between its letters are other ways to write it.
 */
export function mayNameAddress(text: string): boolean {
  return /\/\/|\\|https?:|ftp:|&#|&\w+;|#\w+;/i.test(text.replace(/\s/g, ''));
}
