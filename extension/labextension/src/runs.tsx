/**
 * Runs: work that goes on when its page is gone. A panel lists them (runs_panel.tsx), a command
 * runs the notebook in front in the background, and a notification says when a run that nobody
 * looks at has ended, or waits for a person.
 */

import { IChatTracker } from '@jupyter/chat';
import { ILabShell, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';

import { IOpenNotebooks } from './open_notebooks';
import { followed, type IRun } from './run_client';
import { RunList, waits, type IDue } from './run_list';
import { describeRun, hasDocument, reasonOf, RunsPanel } from './runs_panel';

const RUN = 'caesarion:run-notebook-in-background';
const SHOW = 'caesarion:show-runs';

/** Milliseconds for which a notification lies over the chat while the page has the focus; the lab keeps a list. */
const SHOWN = 10_000;

/** Milliseconds after the lab has restored its layout until its chats are there. */
const RESTORED = 2_000;

class Runs {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _documents: IDocumentManager,
    private readonly _notebooks: INotebookTracker,
    private readonly _chats: IChatTracker | null,
    open: IOpenNotebooks
  ) {
    this._list = new RunList(open.runChanged);
    this._panel = new RunsPanel(this._list, run => void this.open(run));
    _app.shell.add(this._panel, 'left', { rank: 250, type: 'Runs' });
    this._list.due.connect((_, due) => void this._tell(due));
  }

  show(): void {
    this._app.shell.activateById(this._panel.id);
  }

  /** Go to the document of a run, or to the panel. */
  async open(run: IRun): Promise<void> {
    if (run.chat_path) {
      await this._openChat(run.chat_path);
    } else if (run.kind === 'notebook') {
      this._documents.openOrReveal(run.path ?? run.notebook_path ?? '');
    } else {
      this.show();
    }
  }

  /** Run a notebook from top to bottom in the background, as it is in the page. */
  async begin(panel: NotebookPanel): Promise<void> {
    try {
      await panel.context.ready;
      if (panel.context.model.dirty) {
        await panel.context.save();
      }
      await this._list.begin({ kind: 'notebook', path: panel.context.localPath });
      this.show();
    } catch (error) {
      Notification.error(error instanceof Error ? error.message : String(error));
    }
  }

  private async _openChat(path: string): Promise<void> {
    const chat = this._chats?.find(one => one.model.name === path && one.area === 'main');
    if (chat) {
      this._app.shell.activateById(chat.id);
    } else {
      await this._app.commands.execute('jupyterlab-chat:open', {
        filepath: path,
        inSidePanel: true
      });
    }
  }

  private async _tell({ run, wasAway }: IDue): Promise<void> {
    if (wasAway) {
      // The lab may be about to show the chat again that the run is of.
      await this._app.restored;
      await new Promise(resolve => window.setTimeout(resolve, RESTORED));
    }
    const isKept = run.kind === 'notebook' && !waits(run) && (await this._reload(run));
    if (this._isSeen(run)) {
      return;
    }
    const reason = isKept || reasonOf(run);
    const sentence = [describeRun(run), reason].filter(Boolean).join('. ');
    const label = hasDocument(run) ? 'Open' : 'Show';
    const options: Notification.IOptions<never> = {
      autoClose: SHOWN,
      actions: [{ label, callback: () => void this.open(run) }]
    };
    if (run.status === 'completed') {
      Notification.success(sentence, options);
    } else if (run.status === 'failed') {
      Notification.error(sentence, options);
    } else {
      Notification.warning(sentence, options);
    }
  }

  /** Whether the person looks at what a run shows. */
  private _isSeen(run: IRun): boolean {
    if (followed.has(run.id)) {
      return true;
    }
    if (document.hidden || !document.hasFocus()) {
      return false;
    }
    const chat =
      run.chat_path && this._chats?.find(one => one.model.name === run.chat_path);
    return this._panel.isVisible || Boolean(chat && chat.isVisible);
  }

  /** Show the outputs of a run in its notebook; return a sentence if unsaved edits are in the way. */
  private async _reload(run: IRun): Promise<string> {
    const panel = this._notebooks.find(one => one.context.localPath === run.path);
    if (!panel?.context.isReady) {
      return ''; // It is not open, or is being read just now.
    }
    if (panel.context.model.dirty) {
      return 'The notebook has edits that are not saved, so the outputs are in its file alone';
    }
    try {
      await panel.context.revert();
      return '';
    } catch {
      return 'The notebook could not be loaded again: reload it from the disk (File menu)';
    }
  }

  private readonly _list: RunList;
  private readonly _panel: RunsPanel;
}

export const runs: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:runs',
  description: 'Lists runs in the background, begins those of notebooks, and says when one ends.',
  autoStart: true,
  requires: [IDocumentManager, INotebookTracker, IOpenNotebooks],
  optional: [IChatTracker, ICommandPalette, ILabShell],
  activate: (
    app,
    documents: IDocumentManager,
    notebooks: INotebookTracker,
    open: IOpenNotebooks,
    chats: IChatTracker | null,
    palette: ICommandPalette | null
  ) => {
    const made = new Runs(app, documents, notebooks, chats, open);
    app.commands.addCommand(RUN, {
      label: 'Run from Top to Bottom in the Background',
      caption: 'In a fresh kernel; it goes on when this page is closed',
      isEnabled: () => notebooks.currentWidget !== null,
      execute: async () => {
        const panel = notebooks.currentWidget;
        await (panel && made.begin(panel));
      }
    });
    app.commands.addCommand(SHOW, { label: 'Show Runs', execute: () => made.show() });
    palette?.addItem({ command: RUN, category: 'Notebook Operations' });
    palette?.addItem({ command: SHOW, category: 'Chat' });
    notebooks.currentChanged.connect(() => app.commands.notifyCommandChanged(RUN));
  }
};
