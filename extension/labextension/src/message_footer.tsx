/**
 * What stands under a message: under an answer the tokens and the time it took,
 * under the last question "Ask again" and "Edit". A question asked again, or
 * edited, takes the place of the old one: its message says which, and the server
 * takes that one back with its answer.
 */

import {
  IChatTracker,
  IMessageFooterRegistry,
  type IAttachment,
  type IChatModel,
  type IChatPanel,
  type IFooterProps,
  type IMessage
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import { editIcon, refreshIcon } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import * as React from 'react';

import { inWords } from './call';
import { putIntoLine } from './input_bar';

/** What a turn took; the tokens are 0 if they are not known. */
interface IUsage {
  prompt_tokens: number;
  completion_tokens: number;
  seconds: number;
}

/** The key of a message's metadata that names the question it replaces. */
const REPLACES = 'replaces';

function usageOf(message: IMessage): IUsage | undefined {
  const ours = message.metadata?.caesarion as { usage?: IUsage } | undefined;
  return ours?.usage;
}

function Usage(props: { usage: IUsage }): JSX.Element {
  const { prompt_tokens: sent, completion_tokens: received } = props.usage;
  const time = inWords(props.usage.seconds);
  const tokens = sent + received > 0;
  const numbers = `${sent.toLocaleString('en')} tokens in, ${received.toLocaleString('en')} out · ${time}`;
  const spelled = tokens
    ? `The model read ${sent.toLocaleString('en')} tokens and wrote ${received.toLocaleString('en')} for this answer, in ${time}.`
    : `This answer took ${time}; how many tokens is not known.`;
  return (
    <div className="jp-Caesarion-usage" title={spelled} aria-label={spelled} role="note">
      {tokens ? numbers : time}
    </div>
  );
}

/** The last question that can be asked again: nobody else's, and not taken back. */
function lastQuestion(model: IChatModel): IMessage | undefined {
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

/** Ask `question` once more, with all that went along with it. */
function askAgain(model: IChatModel, question: IMessage): void {
  // What the server remembers with a question it finds out anew.
  const { caesarion, ...metadata } = question.metadata ?? {};
  model.sendMessage({
    body: question.body,
    ...(question.attachments ? { attachments: question.attachments } : {}),
    ...(question.mentions ? { mentions: question.mentions } : {}),
    metadata: { ...metadata, [REPLACES]: question.id }
  });
}

/** The question of one chat that is being edited in its input, if there is one. */
class Editing {
  constructor(chat: IChatPanel) {
    this._model = chat.model;
    chat.model.messagesUpdated.connect(this._look, this);
    chat.node.addEventListener('keydown', event => {
      const typing = event.target instanceof HTMLTextAreaElement;
      // A menu that is open is closed first.
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

  get changed(): ISignal<Editing, void> {
    return this._changed;
  }

  /** Put `question` into the input; what is there comes back afterwards. */
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

  private _look(): void {
    // By now the question was sent, or taken back by somebody else.
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

/** By the models of the chats that are open. */
const editings = new WeakMap<IChatModel, Editing>();

function Asking(props: { model: IChatModel; question: IMessage }): JSX.Element {
  const { model, question } = props;
  const editing = editings.get(model);
  return (
    <div className="jp-Caesarion-asking">
      <button type="button" onClick={() => askAgain(model, question)}>
        <refreshIcon.react tag="span" aria-hidden="true" />
        Ask again
      </button>
      {editing && (
        <button type="button" onClick={() => editing.begin(question)}>
          <editIcon.react tag="span" aria-hidden="true" />
          Edit
        </button>
      )}
    </div>
  );
}

function Footer(props: IFooterProps): JSX.Element | null {
  const { model, message } = props;
  const [, redraw] = React.useReducer((times: number) => times + 1, 0);
  React.useEffect(() => {
    message.changed.connect(redraw);
    model.messagesUpdated.connect(redraw);
    return () => {
      message.changed.disconnect(redraw);
      model.messagesUpdated.disconnect(redraw);
    };
  }, [model, message]);
  const usage = usageOf(message);
  if (usage) {
    return <Usage usage={usage} />;
  }
  return lastQuestion(model)?.id === message.id ? (
    <Asking model={model} question={message} />
  ) : null;
}

function Notice(props: { editing: Editing }): JSX.Element {
  const { editing } = props;
  return (
    <UseSignal signal={editing.changed}>
      {() =>
        editing.active ? (
          <span className="jp-Caesarion-editing" role="status">
            Editing the last question
            <button type="button" onClick={() => editing.cancel()}>
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

export const asking: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:asking',
  description:
    'Shows what an answer took, and lets the last question be asked again or edited.',
  autoStart: true,
  optional: [IChatTracker, IMessageFooterRegistry],
  activate: (
    _app,
    chats: IChatTracker | null,
    footers: IMessageFooterRegistry | null
  ) => {
    if (!chats || !footers) {
      return;
    }
    footers.addSection({ component: Footer, position: 'left' });
    const add = (chat: IChatPanel): void => {
      const editing = new Editing(chat);
      editings.set(chat.model, editing);
      const notice = ReactWidget.create(<Notice editing={editing} />);
      putIntoLine(chat, notice);
    };
    chats.forEach(add);
    chats.widgetAdded.connect((_, chat) => add(chat));
  }
};
