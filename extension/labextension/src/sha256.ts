/** SHA-256 of a text. Pure. */

import { digest } from 'lib0/hash/sha256';

/** The hexadecimal digits of the SHA-256 of a text as UTF-8; SubtleCrypto needs HTTPS. */
export function sha256(text: string): string {
  const bytes = digest(new TextEncoder().encode(text));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}
