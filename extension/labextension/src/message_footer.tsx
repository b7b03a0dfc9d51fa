/**
 * The footer of a message: under an answer its tokens and its time, and the buttons of undo.tsx and
 * plan_button.tsx, under the last question the buttons of retry_edit.tsx.
 */

import {
  IChatTracker,
  IMessageFooterRegistry,
  type IFooterProps,
  type IMessage
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import * as React from 'react';

import { formatSeconds } from './call';
import { IOpenNotebooks } from './open_notebooks';
import { isOpenPlan, PlanButton } from './plan_button';
import { addEditor, lastQuestion, RetryEdit } from './retry_edit';
import { followDecisions, undoableTurn, UndoTurn } from './undo';

/** The usage of a turn; the tokens are 0 if the provider did not count them. */
interface IUsage {
  prompt_tokens: number;
  completion_tokens: number;
  /** Of the tokens in, those from the provider's cache; of the tokens out, those of reasoning. */
  cached_tokens?: number;
  reasoning_tokens?: number;
  seconds: number;
}

function usageOf(message: IMessage): IUsage | undefined {
  const ours = message.metadata?.caesarion as { usage?: IUsage } | undefined;
  return ours?.usage;
}

function written(tokens: number): string {
  return tokens.toLocaleString('en');
}

/** A part of the tokens in parentheses; nothing if there is none. */
function part(tokens: number | undefined, what: string): string {
  return tokens ? ` (${written(tokens)} ${what})` : '';
}

function Usage(props: { usage: IUsage }): JSX.Element {
  const { prompt_tokens: sent, completion_tokens: received } = props.usage;
  const time = formatSeconds(props.usage.seconds);
  const tokens = sent + received > 0;
  const numbers = `${written(sent)} tokens in, ${written(received)} out · ${time}`;
  const cached = part(props.usage.cached_tokens, 'from the cache');
  const reasoning = part(props.usage.reasoning_tokens, 'of them to think');
  const spelled = tokens
    ? `The model read ${written(sent)} tokens${cached} and wrote ${written(received)}${reasoning} for this answer, in ${time}.`
    : `This answer took ${time}. The provider did not report its tokens.`;
  return (
    <div className="jp-Caesarion-usage" title={spelled} aria-label={spelled} role="note">
      {tokens ? numbers : time}
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
  const turn = undoableTurn(message);
  if (usage || turn) {
    return (
      <div>
        {isOpenPlan(model, message) && <PlanButton model={model} />}
        {usage && <Usage usage={usage} />}
        {turn && <UndoTurn model={model} turn={turn} />}
      </div>
    );
  }
  return lastQuestion(model)?.id === message.id ? (
    <RetryEdit model={model} question={message} />
  ) : null;
}

export const messageFooter: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:message-footer',
  description:
    'Shows the tokens and the time of an answer, and lets the last question be asked again or edited.',
  autoStart: true,
  optional: [IChatTracker, IMessageFooterRegistry, IOpenNotebooks],
  activate: (
    _app,
    chats: IChatTracker | null,
    footers: IMessageFooterRegistry | null,
    openNotebooks: IOpenNotebooks | null
  ) => {
    if (!chats || !footers) {
      return;
    }
    if (openNotebooks) {
      followDecisions(openNotebooks);
    }
    footers.addSection({ component: Footer, position: 'left' });
    chats.forEach(addEditor);
    chats.widgetAdded.connect((_, chat) => addEditor(chat));
  }
};
