/**
 * A chat is drawn once, in the lab's theme.
 *
 * jupyterlab-chat 0.25 begins with the theme of Material UI and sets the lab's a moment later. The
 * two are of different kinds, so all of the chat is thrown away and made again: it asked the
 * server twice, and took twice the time until it could be typed into. Called by index.ts.
 */

import { ChatWidget } from '@jupyter/chat';
import * as React from 'react';

/** Milliseconds after which a chat is drawn in whatever theme there is. */
const AT_LAST = 1_000;

/** What of a chat's widget is not public. */
interface IDrawsChat {
  render(): React.ReactElement;
}

interface IParts {
  children?: React.ReactNode;
}

/** Wait for the lab's theme before anything of a chat is drawn. */
export function drawChatsOnce(): void {
  const prototype = ChatWidget.prototype as unknown as IDrawsChat;
  const { render } = prototype;
  prototype.render = function () {
    const chat = render.call(this);
    return typeof chat.type === 'function' ? <Chat chat={chat} /> : chat;
  };
}

/** A chat whose content, within the element that sets the theme, waits for it. */
function Chat({ chat }: { chat: React.ReactElement }): JSX.Element {
  const begun = React.useRef(false);
  const themed: React.ReactElement<IParts> = (chat.type as React.FunctionComponent)(
    chat.props
  ) as React.ReactElement;
  return React.cloneElement(
    themed,
    {},
    <Content begun={begun}>{themed.props.children}</Content>
  );
}

/** What is drawn when it is made for the second time, which is in the lab's theme. */
function Content(props: {
  begun: React.MutableRefObject<boolean>;
  children: React.ReactNode;
}): JSX.Element | null {
  const { begun, children } = props;
  const [shown, setShown] = React.useState(begun.current);
  React.useEffect(() => {
    begun.current = true;
    const timer = window.setTimeout(() => setShown(true), AT_LAST);
    return () => window.clearTimeout(timer);
  }, [begun]);
  return shown ? <>{children}</> : null;
}
