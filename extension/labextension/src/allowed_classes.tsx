/**
 * The classes of calls that do not wait in a chat any more, as chips above its input; a click on
 * one lets its calls wait again. The server has them (caesarion/api/allowed-classes), and forgets
 * them when it restarts.
 */

import { IChatTracker, type IChatModel, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import type { IDecision } from './approval_card';
import { addToInputBar } from './input_bar';
import { explainClass } from './risk_classes';

interface IAllowed {
  class: string;
  by: string;
}

/** The allowed classes of one chat. */
class AllowedClasses {
  constructor(private readonly _model: IChatModel) {
    const look = (): void => void this._look();
    _model.messagesUpdated.connect(look);
    _model.disposed.connect(() => _model.messagesUpdated.disconnect(look));
    look();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get all(): readonly IAllowed[] {
    return this._all;
  }

  async revoke(one: string): Promise<void> {
    await this._request('DELETE', { class: one });
    await this._load();
  }

  /** Ask the server whenever a decision or a waiting call may have come or gone. */
  private async _look(): Promise<void> {
    const sign = this._model.messages
      .map(message => {
        const ours = message.metadata?.caesarion as
          { decided?: IDecision; approval_id?: string } | undefined;
        return ours?.decided?.allowed ? message.id : (ours?.approval_id ?? '');
      })
      .join('');
    if (this._model.id && sign !== this._sign) {
      this._sign = sign;
      await this._load();
    }
  }

  private async _load(): Promise<void> {
    const response = await this._request('GET', {});
    if (response?.ok) {
      this._all = ((await response.json()) as { allowed: IAllowed[] }).allowed;
      this._changed.emit();
    } else {
      this._sign = null; // Asked again at the next message.
    }
  }

  private async _request(
    method: string,
    query: Record<string, string>
  ): Promise<Response | null> {
    const settings = ServerConnection.makeSettings();
    const url =
      URLExt.join(settings.baseUrl, 'caesarion/api/allowed-classes') +
      URLExt.objectToQueryString({ chat_id: this._model.id ?? '', ...query });
    try {
      return await ServerConnection.makeRequest(url, { method }, settings);
    } catch {
      return null;
    }
  }

  private _all: readonly IAllowed[] = [];
  /** What the messages said when the server was asked last. */
  private _sign: string | null = null;
  private readonly _changed = new Signal<this, void>(this);
}

function Chip(props: { one: IAllowed; revoke: () => void }): JSX.Element {
  const { one, revoke } = props;
  const told = `Calls of the class "${one.class}" do not wait in this chat: ${one.by} has allowed them. ${explainClass(one.class)} Click to be asked again.`;
  return (
    <button
      type="button"
      className="jp-Caesarion-chip jp-Caesarion-allowedClass"
      aria-label={told}
      title={told}
      onClick={revoke}
    >
      <span className="jp-Caesarion-chipLabel">allowed: {one.class}</span>
      <span className="jp-Caesarion-chipAction" aria-hidden="true">
        ×
      </span>
    </button>
  );
}

class Chips extends ReactWidget {
  constructor(private readonly _allowed: AllowedClasses) {
    super();
    this.addClass('jp-Caesarion-chips');
    this.addClass('jp-Caesarion-allowedClasses');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', 'Classes of calls that do not wait in this chat');
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this._allowed.changed}>
        {() => (
          <>
            {this._allowed.all.map(one => (
              <Chip
                key={one.class}
                one={one}
                revoke={() => void this._allowed.revoke(one.class)}
              />
            ))}
          </>
        )}
      </UseSignal>
    );
  }
}

export const allowedClasses: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:allowed-classes',
  description: 'Shows which classes of calls do not wait in a chat, and takes that back.',
  autoStart: true,
  optional: [IChatTracker],
  activate: (_app, chats: IChatTracker | null) => {
    const serve = (chat: IChatPanel): void =>
      addToInputBar(chat, new Chips(new AllowedClasses(chat.model)));
    chats?.forEach(serve);
    chats?.widgetAdded.connect((_, chat) => serve(chat));
  }
};
