/**
 * The first visit: a new workspace, which remembers no layout, opens a chat in its
 * sidebar. Later visits restore the workspace's own layout; if its chats are gone, they open a
 * new one.
 */

import { IChatTracker } from '@jupyter/chat';
import {
  ILabShell,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { PathExt } from '@jupyterlab/coreutils';
import type { Contents } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { SplitPanel, type Widget } from '@lumino/widgets';
import { type ILabChatModel, IMultiChatPanel, IWidgetConfig } from 'jupyterlab-chat';

/** The sidebar's share of the width that it and the main area have together. */
const SIDEBAR_SHARE = 0.4;

/** Resolve when the chat knows its folder and has made it. */
function configured(settings: IWidgetConfig): Promise<void> {
  return new Promise(resolve => {
    const look = (): void => {
      if (settings.config.defaultDirectory !== undefined) {
        settings.configChanged.disconnect(look);
        resolve();
      }
    };
    settings.configChanged.connect(look);
    look();
  });
}

/** Make the sidebar that holds `panel` wide enough to read code and plots in. */
function widen(panel: Widget): void {
  let split = panel.parent;
  while (split && !(split instanceof SplitPanel)) {
    split = split.parent;
  }
  if (!split) {
    return;
  }
  const widgets = [...split.widgets];
  const side = widgets.findIndex(widget => widget.contains(panel));
  // The lab's row is: left sidebar, main area, right sidebar.
  const sizes = split.relativeSizes();
  const room = (sizes[side] ?? 0) + (sizes[1] ?? 0);
  sizes[side] = room * SIDEBAR_SHARE;
  sizes[1] = room - sizes[side];
  split.setRelativeSizes(sizes);
}

/**
 * Open the chat "Chat" of `folder` in the side panel, and create it if need be.
 *
 * The command of jupyterlab-chat 0.25 does so by five requests, one after the other, before it
 * connects. The connection alone makes the file as well.
 */
async function openSideChat(
  app: JupyterFrontEnd,
  panel: IMultiChatPanel,
  folder: string
): Promise<void> {
  await app.serviceManager.ready;
  const factory = app.docRegistry.getModelFactory('Chat');
  const model = factory?.createNew({}) as ILabChatModel | undefined;
  if (!model) {
    return;
  }
  model.name = PathExt.join(folder, 'Chat.chat');
  model.markDocumentSynced();
  app.shell.activateById(panel.id);
  panel.open({ model, displayName: 'Chat' });
  widen(panel);
  await model.ready;
  panel.updateChatList();
}

/** Whether there is a chat in `folder`. */
async function hasChats(app: JupyterFrontEnd, folder: string): Promise<boolean> {
  try {
    const { content } = await app.serviceManager.contents.get(folder);
    return content.some((file: Contents.IModel) => file.name.endsWith('.chat'));
  } catch {
    return false; // There is no folder, either.
  }
}

/** Open a chat beside a new workspace, or in a panel whose chats its user has deleted. */
async function openFirstChat(
  app: JupyterFrontEnd,
  shell: ILabShell,
  chats: IChatTracker,
  registry: ISettingRegistry,
  panel: IMultiChatPanel
): Promise<void> {
  const layout = await shell.restored;
  if (shell.mode === 'single-document') {
    return;
  }
  const settings = await registry.load('jupyterlab-chat-extension:factory');
  const folder = String(settings.get('defaultDirectory').composite);
  if (!layout.fresh) {
    await chats.restored;
    if (chats.size || !panel.isVisible || (await hasChats(app, folder))) {
      return;
    }
  }
  await openSideChat(app, panel, folder);
}

/**
 * Give a chat in the side panel the name that the panel's own list gives it.
 *
 * A command or a restored layout opens `chats/Chat`, the list opens `Chat`:
 * jupyterlab-chat 0.25 takes them for two chats, shows both, and leaves one behind
 * when the chat moves to the main area.
 */
function normalizeChatName(
  chats: IChatTracker,
  settings: IWidgetConfig
): void {
  chats.widgetAdded.connect(async (_, chat) => {
    await configured(settings);
    const folder = `${settings.config.defaultDirectory}/`;
    if (!chat.isDisposed && chat.name?.startsWith(folder)) {
      chat.name = chat.name.slice(folder.length);
    }
  });
}

export const firstVisit: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:first-visit',
  description: 'Opens a chat in the sidebar of a new workspace.',
  autoStart: true,
  optional: [ILabShell, IChatTracker, IWidgetConfig, IMultiChatPanel, ISettingRegistry],
  activate: (
    app,
    shell: ILabShell | null,
    chats: IChatTracker | null,
    settings: IWidgetConfig | null,
    panel: IMultiChatPanel | null,
    registry: ISettingRegistry | null
  ) => {
    if (chats && settings) {
      normalizeChatName(chats, settings);
    }
    if (shell && chats && registry && panel) {
      openFirstChat(app, shell, chats, registry, panel).catch((reason: unknown) => {
        console.warn('The chat could not be opened.', reason);
      });
    }
  }
};
