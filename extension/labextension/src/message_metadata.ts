/**
 * What goes along with a message, whatever sends it: what is stamped on the chat's input, and the
 * trace that the message begins. For context.tsx, approval_mode.tsx and cells.ts.
 */

import type { IInputModel } from '@jupyter/chat';

function hex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, byte => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * A new trace, in the form of W3C's header: the logs of the server and the gateway name it, and
 * their spans belong to it where the operator collects them.
 */
export function newTraceparent(): string {
  return `00-${hex(16)}-${hex(8)}-01`;
}

/** The metadata of a message that is sent by a click and not from the input. */
export function metadataOf(input?: IInputModel): Record<string, unknown> {
  // A question that is being edited has nothing to do with this.
  const { replaces: _, ...stamp } = input?.getMetadata() ?? {};
  return { ...stamp, traceparent: newTraceparent() };
}
