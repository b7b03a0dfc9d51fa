/**
 * What a person does, and nothing that is shown in the page: browsers mark events that they
 * have made of a key or a click. A script can do more than that; content without one, such as
 * a chart or a link to a command, can send a click to a button, or be clicked itself.
 */

/** Call `press` when a person presses a button. */
export function onPress(button: HTMLElement, press: (event: MouseEvent) => void): void {
  button.addEventListener('click', event => {
    if (event.isTrusted) {
      press(event);
    }
  });
}

/** Where the lab lists its commands; a click elsewhere may be on what content calls a button. */
const PALETTE = '.lm-CommandPalette';

/**
 * Whether a command that is running was called in the palette, or by a key pressed with Alt once:
 * settings are files in the home, and could bind a key that people press all the time.
 */
export function isChosenCommand(): boolean {
  // Deprecated, and the only way to know: commands are not told of their event.
  const { event } = window;
  if (!event?.isTrusted) {
    return false;
  }
  const isInPalette = event.target instanceof Element && !!event.target.closest(PALETTE);
  return isInPalette || (event instanceof KeyboardEvent && event.altKey && !event.repeat);
}
