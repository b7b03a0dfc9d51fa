/**
 * The upload queue of a chat: files are sent to the server one after the other, and each
 * becomes an attachment of the chat's next message. Shown by upload_rows.tsx; the server's
 * side is `caesarion/api/uploads` (docs/http.md).
 */

import type { IInputModel } from '@jupyter/chat';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';

import { refusal, type Limits } from './upload_limits';

/**
 * What may become of a file. `checking` is all of it sent and not answered yet,
 * `refused` is for good, `broken` may be tried again.
 */
type State = 'waiting' | 'sending' | 'checking' | 'refused' | 'broken';

/** One file. */
export interface IUpload {
  readonly name: string;
  /** Null if it is refused before it is sent. */
  readonly file: File | null;
  state: State;
  /** Bytes that are sent. */
  sent: number;
  /** Why it was refused, or broke off. */
  sentence: string;
}

/** The server's answer once it has the file. */
interface IUploaded {
  name: string;
  attachment: string;
}

/** The last part of the server's path of uploads. */
const UPLOADS = 'caesarion/api/uploads';

const NOT_SENT = 'Your message was not sent.';

/** The uploads of one chat. */
export class UploadQueue {
  constructor(
    private _input: IInputModel,
    private _limits: Limits
  ) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The uploads to show: those under way, and those that failed. */
  get all(): readonly IUpload[] {
    return this._all;
  }

  /** Whether an upload is under way. */
  get running(): boolean {
    return this._all.some(isRunning);
  }

  /** Whether a message waits for the uploads. */
  get awaited(): boolean {
    return this._waiting.length > 0;
  }

  /** The last attachment, announced to screen readers. */
  get news(): string {
    return this._news;
  }

  /** Add `files` to the queue; refuse `folders`, each with a sentence. */
  add(files: Iterable<File>, folders: Iterable<string> = []): void {
    for (const name of folders) {
      const sentence = 'This is a folder. Drop the files that are in it.';
      this._all.push({ name, file: null, state: 'refused', sent: 0, sentence });
    }
    for (const file of files) {
      const { name } = file;
      this._all.push({ name, file, state: 'waiting', sent: 0, sentence: '' });
    }
    this._changed.emit();
    void this._work();
  }

  /** Cancel an upload that is under way; nothing of it stays on the server. */
  cancel(upload: IUpload): void {
    if (this.awaited) {
      this._end(upload, 'refused', `The upload was cancelled. ${NOT_SENT}`);
    } else {
      this.dismiss(upload);
    }
    if (upload === this._current) {
      this._stop();
    }
    this._settle(false);
  }

  /** Upload a file again that did not arrive. */
  retry(upload: IUpload): void {
    Object.assign(upload, { state: 'waiting', sent: 0, sentence: '' });
    this._changed.emit();
    void this._work();
  }

  /** Remove an upload from the list. */
  dismiss(upload: IUpload): void {
    this._all = this._all.filter(one => one !== upload);
    this._changed.emit();
  }

  /** Resolve when no upload is under way: to true, unless one was cancelled or failed. */
  async settled(): Promise<boolean> {
    if (!this.running) {
      return true;
    }
    const settled = new Promise<boolean>(resolve => this._waiting.push(resolve));
    this._changed.emit();
    return settled;
  }

  /** Cancel all uploads, as the chat is closed. */
  dispose(): void {
    this._all = [];
    this._stop();
    Signal.clearData(this);
  }

  private async _work(): Promise<void> {
    if (this._working) {
      return;
    }
    this._working = true;
    try {
      const limits = await this._limits.get();
      let next: IUpload | undefined;
      while ((next = this._all.find(one => one.state === 'waiting'))) {
        const sentence = refusal(next.file!, limits);
        if (sentence) {
          this._end(next, 'refused', sentence);
        } else if (!(await isReadable(next.file!))) {
          this._end(next, 'refused', 'This cannot be read: it is a folder, or was moved.');
        } else if (next.state === 'waiting' && this._all.includes(next)) {
          await this._send(next);
        }
      }
    } finally {
      this._working = false;
    }
    this._settle(true);
  }

  /** Send one file; resolves also when it fails. */
  private _send(upload: IUpload): Promise<void> {
    const request = new XMLHttpRequest();
    this._current = upload;
    return new Promise<void>(resolve => {
      const isOver = (): boolean => !this._all.includes(upload) || !isRunning(upload);
      this._stop = () => {
        // What was sent whole may be stored by now; the answer says under which name.
        if (upload.sent < upload.file!.size) {
          request.abort();
        }
      };
      request.upload.onprogress = event => {
        upload.sent = Math.min(event.loaded, upload.file!.size);
        this._changed.emit();
      };
      request.upload.onload = () => {
        upload.sent = upload.file!.size;
        if (!isOver()) {
          upload.state = 'checking';
          this._changed.emit();
        }
      };
      request.onload = () => {
        if (request.status === 201) {
          const uploaded = JSON.parse(request.responseText) as IUploaded;
          if (isOver()) {
            void this._delete(uploaded.name);
          } else {
            this._arrived(upload, uploaded);
          }
        } else if (!isOver()) {
          this._refused(upload, request);
        }
      };
      request.onerror = () => {
        if (!isOver()) {
          this._end(upload, 'broken', 'The connection to the server broke off.');
        }
      };
      request.onloadend = () => {
        this._current = null;
        this._stop = () => undefined;
        resolve();
      };
      this._open(request, 'POST', UPLOADS);
      const form = new FormData();
      form.append('file', upload.file!);
      upload.state = 'sending';
      this._changed.emit();
      request.send(form);
    });
  }

  /** Open a request with JupyterLab's credentials; its own requests use fetch, which has no progress. */
  private _open(request: XMLHttpRequest, method: string, path: string): void {
    const { baseUrl, token } = this._limits.settings;
    request.open(method, URLExt.join(baseUrl, path));
    if (token) {
      request.setRequestHeader('Authorization', `token ${token}`);
    }
    // Of two cookies of the name the server takes the last, as the lab does.
    const xsrf = [...document.cookie.matchAll(/(?:^|;\s*)_xsrf=([^;]*)/g)].pop();
    if (xsrf) {
      request.setRequestHeader('X-XSRFToken', xsrf[1]!);
    }
  }

  /** Delete a file that had arrived when its upload was cancelled. */
  private async _delete(name: string): Promise<void> {
    const { settings } = this._limits;
    const url = URLExt.join(settings.baseUrl, UPLOADS, encodeURIComponent(name));
    try {
      await ServerConnection.makeRequest(url, { method: 'DELETE' }, settings);
    } catch (error) {
      console.warn(`${name} was cancelled too late and is in the folder for uploads.`, error);
    }
  }

  private _arrived(upload: IUpload, uploaded: IUploaded): void {
    this._news = `${uploaded.name} is attached to your next message.`;
    this._input.addAttachment({ type: 'file', value: uploaded.attachment });
    this.dismiss(upload);
  }

  private _refused(upload: IUpload, request: XMLHttpRequest): void {
    const { status, responseText } = request;
    const sentence = sentenceOf(responseText);
    if (sentence) {
      this._end(upload, 'refused', sentence);
    } else if (status >= 400 && status < 500) {
      // The answer of a proxy on the way, as below, and not of the server.
      this._end(upload, 'refused', `This was refused on its way to the server (${status}).`);
    } else {
      this._end(upload, 'broken', `The server cannot be reached now (${status}).`);
    }
  }

  private _end(upload: IUpload, state: State, sentence: string): void {
    const added = this.awaited && !sentence.endsWith(NOT_SENT) ? ` ${NOT_SENT}` : '';
    Object.assign(upload, { state, sentence: sentence + added });
    this._settle(false);
    this._changed.emit();
  }

  /** Resolve for the waiting messages: at once if an upload failed, else when none is under way. */
  private _settle(whole: boolean): void {
    if (!whole || !this.running) {
      for (const resolve of this._waiting.splice(0)) {
        resolve(whole);
      }
      this._changed.emit();
    }
  }

  private _all: IUpload[] = [];
  private _current: IUpload | null = null;
  private _working = false;
  private _waiting: ((whole: boolean) => void)[] = [];
  private _news = '';
  private _stop: () => void = () => undefined;
  private _changed = new Signal<this, void>(this);
}

/** Return whether an upload is under way. */
export function isRunning(upload: IUpload): boolean {
  return ['waiting', 'sending', 'checking'].includes(upload.state);
}

/** Return whether there is content to send: browsers hand over folders as files, too. */
async function isReadable(file: File): Promise<boolean> {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Return the sentence in an error of the server's; empty for another's answer. */
function sentenceOf(answer: string): string {
  try {
    const { message } = JSON.parse(answer) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
