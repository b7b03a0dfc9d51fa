/**
 * The context stamp: every message says which notebook is in front and which
 * kernel it runs, so that the agent works there. Started by index.ts; the server
 * finds the stamp in the message's metadata.
 */

import type { IChatPanel, IChatTracker } from '@jupyter/chat';
import type { ILabShell } from '@jupyterlab/application';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

/** Both keys are always there, so that a stamp wipes out the one before. */
interface IContext {
  notebook_path: string | undefined;
  kernel_id: string | undefined;
}

/**
 * The notebook in front of who types into `chat`: the one last used, if it can be
 * seen. A chat in the main area may itself cover the notebook it is about.
 */
function notebookInFront(
  chat: IChatPanel,
  notebooks: INotebookTracker
): NotebookPanel | null {
  const panel = notebooks.currentWidget;
  return panel?.isVisible || chat.area === 'main' ? panel : null;
}

function contextOf(panel: NotebookPanel | null): IContext {
  return {
    notebook_path: panel?.context.localPath,
    kernel_id: panel?.sessionContext.session?.kernel?.id
  };
}

/** Keep the stamp of every open chat true for as long as the lab runs. */
export function stampChats(
  chats: IChatTracker,
  notebooks: INotebookTracker,
  shell: ILabShell | null
): void {
  const stamp = (chat: IChatPanel): void => {
    const { input } = chat.model;
    const was = input.getMetadata();
    const now = contextOf(notebookInFront(chat, notebooks));
    if (
      was.notebook_path !== now.notebook_path ||
      was.kernel_id !== now.kernel_id
    ) {
      input.updateMetadata({ ...now });
    }
  };
  const stampAll = (): void => chats.forEach(stamp);
  const follow = (panel: NotebookPanel): void => {
    panel.context.pathChanged.connect(stampAll);
    panel.sessionContext.kernelChanged.connect(stampAll);
    panel.sessionContext.sessionChanged.connect(stampAll);
  };

  notebooks.forEach(follow);
  notebooks.widgetAdded.connect((_, panel) => follow(panel));
  notebooks.currentChanged.connect(stampAll);
  // Tabs that hide or show a notebook change the layout, not the tracker.
  shell?.layoutModified.connect(stampAll);
  chats.widgetAdded.connect((_, chat) => stamp(chat));
  stampAll();
}
