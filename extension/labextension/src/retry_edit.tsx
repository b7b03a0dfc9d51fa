/**
 * Retry and edit: the last question is asked again as it was, or put back into the
 * input to be changed. Its replacement names it, and the server deletes it together with
 * its answer. Drawn by message_footer.tsx under the question.
 */

import type { IAttachment, IChatModel, IChatPanel, IMessage } from '@jupyter/chat';
import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import { editIcon, refreshIcon } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { addToInputBar } from './input_bar';

/** The key of a message's metadata that names the question it replaces. */
const REPLACES = 'replaces';

/** Return the last question that this user may ask again: their own, and not deleted. */
export function lastQuestion(model: IChatModel): IMessage | undefined {
  for (let i = model.messages.length - 1; i >= 0; i--) {
    const message = model.messages[i]!;
    if (
      !message.deleted &&
      model.user?.username === message.sender.username &&
      message.body.trim()
    ) {
      return message;
    }
  }
  return undefined;
}

/** Send `question` once more, with its attachments and its metadata. */
function retry(model: IChatModel, question: IMessage): void {
  // The server collects its own part of the metadata anew.
  const { caesarion, ...metadata } = question.metadata ?? {};
  model.sendMessage({
    body: question.body,
    ...(question.attachments ? { attachments: question.attachments } : {}),
    ...(question.mentions ? { mentions: question.mentions } : {}),
    metadata: { ...metadata, [REPLACES]: question.id }
  });
}

/** The editing of one chat's last question in the chat's input. */
class Editor {
  constructor(chat: IChatPanel) {
    this._model = chat.model;
    chat.model.messagesUpdated.connect(this._onMessages, this);
    chat.node.addEventListener('keydown', event => {
      const typing = event.target instanceof HTMLTextAreaElement;
      // The first Escape closes an open menu.
      const menu =
        typing &&
        (event.target as Element).getAttribute('aria-expanded') === 'true';
      if (event.key === 'Escape' && this.active && typing && !menu) {
        event.preventDefault();
        event.stopPropagation();
        this.cancel();
      }
    }, true);
  }

  get active(): boolean {
    return this._question !== '';
  }

  get changed(): ISignal<Editor, void> {
    return this._changed;
  }

  /** Put `question` into the input; the draft there is restored afterwards. */
  begin(question: IMessage): void {
    const { input } = this._model;
    if (!this.active) {
      this._draft = { value: input.value, attachments: [...input.attachments] };
    }
    this._set(question.id);
    fill(this._model, question.body, question.attachments ?? []);
    input.focus();
  }

  /** Leave the question as it was. */
  cancel(): void {
    this._set('');
    fill(this._model, this._draft.value, this._draft.attachments);
    this._model.input.focus();
  }

  /** End when the edited question was sent, or when somebody else deleted it. */
  private _onMessages(): void {
    const sent = this._model.messages.some(
      one => one.metadata?.[REPLACES] === this._question
    );
    const gone = !this._model.messages.some(
      one => one.id === this._question && !one.deleted
    );
    if (this.active && (sent || gone)) {
      this._set('');
      fill(this._model, this._draft.value, this._draft.attachments);
    }
  }

  private _set(question: string): void {
    this._question = question;
    this._model.input.updateMetadata({ [REPLACES]: question || undefined });
    this._changed.emit();
  }

  private _model: IChatModel;
  private _question = '';
  private _draft: { value: string; attachments: IAttachment[] } = {
    value: '',
    attachments: []
  };
  private _changed = new Signal<this, void>(this);
}

function fill(
  model: IChatModel,
  value: string,
  attachments: readonly IAttachment[]
): void {
  model.input.value = value;
  model.input.clearAttachments();
  for (const attachment of attachments) {
    model.input.addAttachment(attachment);
  }
}

/** The editors of the open chats, by the chats' models. */
const editors = new WeakMap<IChatModel, Editor>();

/** The buttons under the last question. */
export function RetryEdit(props: {
  model: IChatModel;
  question: IMessage;
}): JSX.Element {
  const { model, question } = props;
  const editor = editors.get(model);
  return (
    <div className="jp-Caesarion-retryEdit">
      <button type="button" onClick={() => retry(model, question)}>
        <refreshIcon.react tag="span" aria-hidden="true" />
        Ask again
      </button>
      {editor && (
        <button type="button" onClick={() => editor.begin(question)}>
          <editIcon.react tag="span" aria-hidden="true" />
          Edit
        </button>
      )}
    </div>
  );
}

function EditingNotice({ editor }: { editor: Editor }): JSX.Element {
  return (
    <UseSignal signal={editor.changed}>
      {() =>
        editor.active ? (
          <span className="jp-Caesarion-editing" role="status">
            Editing the last question
            <button type="button" onClick={() => editor.cancel()}>
              Cancel
            </button>
          </span>
        ) : (
          <></>
        )
      }
    </UseSignal>
  );
}

/** Let the questions of `chat` be edited. */
export function addEditor(chat: IChatPanel): void {
  const editor = new Editor(chat);
  editors.set(chat.model, editor);
  addToInputBar(chat, ReactWidget.create(<EditingNotice editor={editor} />));
}
