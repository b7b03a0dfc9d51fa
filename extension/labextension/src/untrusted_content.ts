/**
 * Untrusted content: what an agent, a file or another person wrote into a chat can be looked
 * at, and does nothing by itself. Chats draw with chat_rendermime.ts, which loads nothing. The
 * lab's sanitiser removes scripts; here go attributes that let a click run a command of the
 * lab, and forms.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import type { Widget } from '@lumino/widgets';
import { IMultiChatPanel } from 'jupyterlab-chat';

import { CHART, guardCharts } from './chart';
import { messageRenderMime } from './chat_rendermime';

const MESSAGE = '.jp-chat-rendered-message';
const COMMAND = 'data-commandlinker-command';

/** The name of the factory of chats in the main area. */
const FACTORY = 'Chat';

/** The part of jupyterlab-chat's panel and factory that decides what draws their chats. */
interface IDrawsChats {
  _chatOptions?: { rmRegistry: IRenderMimeRegistry };
}

/**
 * Let all chats draw with a registry that loads nothing.
 *
 * jupyterlab-chat 0.25 offers no way to choose it; tests/browser/test_remote_content.py fails
 * when this has no effect.
 */
function guard(app: JupyterFrontEnd, panel: Widget | null, lab: IRenderMimeRegistry): void {
  const factory = app.docRegistry.getWidgetFactory(FACTORY);
  for (const one of [panel, factory] as (IDrawsChats | null | undefined)[]) {
    if (one?._chatOptions) {
      one._chatOptions = { ...one._chatOptions, rmRegistry: messageRenderMime(lab) };
    } else if (one) {
      console.error('Chats are drawn without protection: jupyterlab-chat has changed.');
    }
  }
}

/** Let the lab draw no chart that is not trusted otherwise than harmlessly, also in notebooks. */
function guardAllCharts(lab: IRenderMimeRegistry): void {
  const guarded = new Set<IRenderMime.IRendererFactory>();
  const guard = (factory: IRenderMime.IRendererFactory | undefined): void => {
    if (factory && !guarded.has(factory) && factory.mimeTypes.some(type => CHART.test(type))) {
      guarded.add(factory);
      guardCharts(factory);
    }
  };
  lab.mimeTypes.forEach(type => guard(lab.getFactory(type)));
  // Those of extensions may come later.
  const add = lab.addFactory.bind(lab);
  lab.addFactory = (factory, rank) => {
    guard(factory);
    add(factory, rank);
  };
}

/** Keep the browser from asking a name server for the host of a link that nobody follows. */
function disablePrefetch(): void {
  const meta = document.createElement('meta');
  meta.httpEquiv = 'x-dns-prefetch-control';
  meta.content = 'off';
  document.head.append(meta);
}

function disarm(chat: IChatPanel): void {
  // Before the click reaches the lab's own listener, which is on the page's body.
  const click = (event: Event): void => {
    const target = event.target as Element;
    const linked = target.closest(`[${COMMAND}]`);
    if (linked?.closest(MESSAGE)) {
      linked.removeAttribute(COMMAND);
      event.stopPropagation();
    }
  };
  chat.node.addEventListener('click', click, true);
  // A form without an address would load the lab's own page anew.
  chat.node.addEventListener('submit', event => event.preventDefault(), true);
}

/** Load what draws words and code while the first chat opens, and not when its answer comes. */
function loadAhead(chats: IChatTracker, lab: IRenderMimeRegistry): void {
  const load = (): void => {
    chats.widgetAdded.disconnect(load);
    void lab.markdownParser?.render('```python\n0\n```');
  };
  chats.widgetAdded.connect(load);
}

export const untrustedContent: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:untrusted-content',
  description: 'Keeps the content of chats from doing or loading anything by itself.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [IChatTracker, IMultiChatPanel],
  activate: (
    app,
    rendermime: IRenderMimeRegistry,
    chats: IChatTracker | null,
    panel: Widget | null
  ) => {
    guard(app, panel, rendermime);
    guardAllCharts(rendermime);
    disablePrefetch();
    if (chats) {
      loadAhead(chats, rendermime);
    }
    chats?.forEach(disarm);
    chats?.widgetAdded.connect((_, chat) => disarm(chat));
  }
};
