/**
 * The first visit: a new workspace, which remembers no layout, opens a chat in its
 * sidebar. Later visits restore the workspace's own layout.
 */

import { IChatTracker } from '@jupyter/chat';
import {
  ILabShell,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { SplitPanel, type Widget } from '@lumino/widgets';
import { IMultiChatPanel, IWidgetConfig } from 'jupyterlab-chat';

import { openSideChat } from './open_chat';

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

/** Open a chat beside a new workspace. */
async function openOnFirstVisit(
  app: JupyterFrontEnd,
  shell: ILabShell,
  settings: IWidgetConfig,
  panel: Widget
): Promise<void> {
  const layout = await shell.restored;
  if (!layout.fresh || shell.mode === 'single-document') {
    return;
  }
  await configured(settings);
  await openSideChat(app);
  widen(panel);
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
  optional: [ILabShell, IChatTracker, IWidgetConfig, IMultiChatPanel],
  activate: (
    app,
    shell: ILabShell | null,
    chats: IChatTracker | null,
    settings: IWidgetConfig | null,
    panel: Widget | null
  ) => {
    if (chats && settings) {
      normalizeChatName(chats, settings);
    }
    if (shell && settings && panel) {
      openOnFirstVisit(app, shell, settings, panel).catch((reason: unknown) => {
        console.warn('The chat could not be opened.', reason);
      });
    }
  }
};
