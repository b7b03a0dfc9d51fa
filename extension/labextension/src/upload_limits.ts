/**
 * The limits of uploads: which files the server accepts, and how large. Used by
 * upload_queue.ts before a file is sent, and by uploads.tsx for the file chooser.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** The limits as `GET caesarion/api/status` has them. */
export interface ILimits {
  max_size: number;
  types: string[];
}

/** The limits of one server, which is asked for them once. */
export class Limits {
  constructor(readonly settings: ServerConnection.ISettings) {}

  /** The limits, once the server has answered. */
  known: ILimits | null = null;

  /** Return the limits; null if the server does not tell them, and then it checks alone. */
  async get(): Promise<ILimits | null> {
    this.known ??= await this._ask().catch(() => null);
    return this.known;
  }

  private async _ask(): Promise<ILimits | null> {
    const url = URLExt.join(this.settings.baseUrl, 'caesarion/api/status');
    const answer = await ServerConnection.makeRequest(url, {}, this.settings);
    const status: { upload_limits?: ILimits } = await answer.json();
    return status.upload_limits ?? null;
  }
}

/** Return a size in decimal units, as the server writes sizes. */
export function formatSize(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) {
    bytes /= 1000;
    power++;
  }
  return `${power === 0 ? bytes : bytes.toFixed(1)} ${units[power]}`;
}

/** Return the sentence in which `file` is refused; empty if it is accepted. */
export function refusal(file: File, limits: ILimits | null): string {
  if (!limits) {
    return '';
  }
  const dot = file.name.lastIndexOf('.');
  const suffix = dot > 0 ? file.name.slice(dot + 1).toLowerCase() : '';
  if (!limits.types.includes(suffix)) {
    const types = limits.types.join(', ') || 'none';
    return `Files of this type are not accepted. Accepted types: ${types}.`;
  }
  if (file.size > limits.max_size) {
    const [size, most] = [file.size, limits.max_size].map(n => n.toLocaleString('en'));
    return `The file has ${size} bytes; the limit is ${most}.`;
  }
  return '';
}
