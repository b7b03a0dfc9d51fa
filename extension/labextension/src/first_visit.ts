/**
 * The first visit: a lab that remembers no layout opens a chat in its sidebar.
 * Started by index.ts; later visits are left to what the workspace remembers.
 */

import type { IChatTracker } from '@jupyter/chat';
import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { SplitPanel, type Widget } from '@lumino/widgets';
import type { IWidgetConfig } from 'jupyterlab-chat';

/** What the sidebar gets of the room that it shares with the main area. */
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

/** Open the chat named "Chat", making it if need be, beside a new workspace. */
export async function openOnFirstVisit(
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
  await app.commands.execute('jupyterlab-chat:createAndOpen', {
    name: 'Chat',
    inSidePanel: true
  });
  widen(panel);
}

/**
 * Call a chat in the side panel what the panel's own list calls it.
 *
 * A command or a remembered layout opens `chats/Chat` where the list says `Chat`:
 * jupyterlab-chat 0.25 takes them for two chats, shows both, and leaves one behind
 * when the chat moves to the main area.
 */
export function nameAsListed(
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
