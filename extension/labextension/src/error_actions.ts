/**
 * Fix, Explain and Ask, where the error is: a toolbar above an error in a notebook, the same in the
 * cell's context menu and in the command palette. cells.ts offers them at a call that failed.
 *
 * Fix and Explain send a message; Ask puts the cell into what goes along with the next one
 * (context.tsx). The server's chat/cell_errors.py tells the model what was pressed.
 */

import { IChatTracker, type IChatPanel } from '@jupyter/chat';
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { CodeCell, type Cell } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import { Panel, Widget } from '@lumino/widgets';
import type { Message } from '@lumino/messaging';

import { chatRenderMime } from './chat_rendermime';
import { contextOf, type Intent, type ISubject } from './context';
import { describeError, type IErrorOutput } from './notebook_stamp';
import { chatInView } from './open_chat';

const ERROR_MIME = 'application/vnd.jupyter.error';
const TRACEBACK_MIME = 'application/vnd.jupyter.stderr';

/** Before the lab's own renderer of tracebacks, which has 110. */
const RANK = 50;

/** What the buttons say, and what they do, in the order of the toolbar. */
const INTENTS: readonly { intent: Intent; label: string; hint: string }[] = [
  { intent: 'fix', label: 'Fix', hint: 'Let the agent correct this code' },
  { intent: 'explain', label: 'Explain', hint: 'Let the agent explain this error' },
  { intent: 'ask', label: 'Ask', hint: 'Ask about this code in the chat' }
];

/** The commands, for the selected cell. */
const COMMANDS: readonly { id: string; intent: Intent; label: string }[] = [
  { id: 'caesarion:fix-cell', intent: 'fix', label: 'Fix the Error in This Cell' },
  { id: 'caesarion:explain-cell', intent: 'explain', label: 'Explain This Cell' },
  { id: 'caesarion:ask-about-cell', intent: 'ask', label: 'Ask About This Cell' }
];

/** Where the context menu of a cell shows them: behind what edits the cell. */
const MENU_RANK = 9;

const AWAY = 'Not sent: the server is away.';

/** What the person's message says; the rest is in its metadata. */
function wording(intent: Intent, subject: ISubject): string {
  const { panel, cell, error, call } = subject;
  if (call) {
    return intent === 'fix' ? 'Fix this code.' : 'Explain this error.';
  }
  const number = panel && cell ? panel.content.widgets.indexOf(cell) + 1 : 0;
  const verb = intent === 'fix' ? 'Fix' : 'Explain';
  return `${verb} ${error ? 'the error in ' : ''}cell ${number}.`;
}

/** Do what was pressed in `chat`; return what to tell the person who pressed. */
export function actOn(
  chat: IChatPanel,
  intent: Intent,
  subject: ISubject
): string {
  const context = contextOf(chat);
  if (intent === 'ask') {
    context?.askAbout(subject);
    chat.model.input.focus();
    return '';
  }
  const sent = chat.model.sendMessage({
    body: wording(intent, subject),
    metadata: context?.metadataAbout(subject, intent) ?? {}
  });
  return sent === null ? AWAY : 'Sent to the chat.';
}

/** The last error that `cell` shows. */
function lastError(cell: Cell | null | undefined): IErrorOutput | undefined {
  const outputs = cell instanceof CodeCell ? cell.model.outputs : undefined;
  for (let i = (outputs?.length ?? 0) - 1; i >= 0; i--) {
    const output = outputs!.get(i);
    if (output.type === 'error') {
      return output.toJSON() as unknown as IErrorOutput;
    }
  }
  return undefined;
}

/** A cell and its notebook. */
interface IPlace {
  panel: NotebookPanel;
  cell: Cell;
}

/** Find the cell of a notebook in which `node` is drawn. */
function cellAt(
  notebooks: INotebookTracker,
  node: HTMLElement
): IPlace | undefined {
  const panel = notebooks.find(one => one.content.node.contains(node));
  const cell = panel?.content.widgets.find(one => one.node.contains(node));
  return panel && cell ? { panel, cell } : undefined;
}

type Press = (node: HTMLElement, intent: Intent, error: IErrorOutput) => Promise<string>;

/** Make the toolbar of an error. `press` resolves with what to say of it. */
export function makeToolbar(press: (intent: Intent) => Promise<string>): Widget {
  const node = document.createElement('div');
  node.className = 'jp-Caesarion-errorActions';
  node.setAttribute('role', 'toolbar');
  node.setAttribute('aria-label', 'What the agent can do about this error');
  // Else the notebook takes Enter and the letters for its commands.
  node.dataset.lmSuppressShortcuts = 'true';
  const state = document.createElement('span');
  state.className = 'jp-Caesarion-errorActionsState';
  state.setAttribute('role', 'status');
  for (const { intent, label, hint } of INTENTS) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = label;
    button.title = hint;
    button.addEventListener('click', event => {
      if (event.detail > 1) {
        return; // The second click of a double click.
      }
      press(intent).then(
        told => (state.textContent = told),
        (reason: unknown) => {
          state.textContent = 'Not sent: no chat could be opened.';
          console.warn('No chat could be opened.', reason);
        }
      );
    });
    node.append(button);
  }
  node.append(state);
  return new Widget({ node });
}

/** Draws an error as the lab does, in a notebook's cell with the toolbar above it. */
class ErrorRenderer extends Panel implements IRenderMime.IRenderer {
  constructor(
    private _traceback: IRenderMime.IRenderer,
    private _isInCell: (node: HTMLElement) => boolean,
    private _press: Press
  ) {
    super();
    this.addClass('jp-Caesarion-error');
    this.addWidget(_traceback);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._error = model.data[ERROR_MIME] as unknown as IErrorOutput;
    await this._traceback.renderModel(model);
  }

  /** Only here is known where the error is drawn: consoles and logs have no cells. */
  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (!this._toolbar && this._isInCell(this.node)) {
      this._toolbar = makeToolbar(intent =>
        this._press(this.node, intent, this._error)
      );
      this.insertWidget(0, this._toolbar);
    }
  }

  private _error: IErrorOutput = {};
  private _toolbar: Widget | null = null;
}

/** Draw errors with the toolbar. */
function addToolbars(
  rendermime: IRenderMimeRegistry,
  notebooks: INotebookTracker,
  press: Press
): void {
  const factory: IRenderMime.IRendererFactory = {
    safe: true,
    mimeTypes: [ERROR_MIME],
    createRenderer: options => {
      const traceback = rendermime.getFactory(TRACEBACK_MIME)!;
      return new ErrorRenderer(
        traceback.createRenderer({ ...options, mimeType: TRACEBACK_MIME }),
        node => cellAt(notebooks, node) !== undefined,
        press
      );
    }
  };
  // Through the chat's registry, which draws only what it knows; it passes it on to the lab's.
  chatRenderMime(rendermime).addFactory(factory, RANK);
}

/** Return the cell that the context menu was opened on, which need not be the selected one. */
function clickedCell(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker
): IPlace | undefined {
  const node = app.contextMenuHitTest(one => one.classList.contains('jp-Cell'));
  return node && cellAt(notebooks, node);
}

/** Return the selected cell of the notebook last used. */
function selectedCell(notebooks: INotebookTracker): IPlace | undefined {
  const panel = notebooks.currentWidget;
  const cell = panel?.content.activeCell;
  return panel && cell ? { panel, cell } : undefined;
}

/** Add the commands, to the palette for the selected cell, to the menu for the one clicked on. */
function addCommands(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker,
  palette: ICommandPalette | null,
  act: (intent: Intent, subject: ISubject) => Promise<string>
): void {
  const subjectOf = (args: { menu?: unknown }): ISubject | undefined => {
    const place = args.menu ? clickedCell(app, notebooks) : selectedCell(notebooks);
    if (!place?.cell.model.sharedModel.getSource().trim()) {
      return undefined;
    }
    const error = lastError(place.cell);
    return { ...place, error: error && describeError(error) };
  };
  for (const { id, intent, label } of COMMANDS) {
    app.commands.addCommand(id, {
      label,
      isEnabled: args => {
        const subject = subjectOf(args);
        return subject !== undefined && (intent !== 'fix' || !!subject.error);
      },
      execute: async args => {
        const subject = subjectOf(args);
        if (subject) {
          await act(intent, subject);
        }
      }
    });
    palette?.addItem({ command: id, category: 'Notebook Cell Operations' });
    app.contextMenu.addItem({
      command: id,
      args: { menu: true },
      selector: '.jp-Notebook .jp-CodeCell',
      rank: MENU_RANK
    });
  }
}

export const errorActions: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:error-actions',
  description: 'Offers to fix and to explain errors, and to ask about them, where they are.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [IChatTracker, INotebookTracker, ICommandPalette],
  activate: (
    app,
    rendermime: IRenderMimeRegistry,
    chats: IChatTracker | null,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null
  ) => {
    if (!chats || !notebooks) {
      return;
    }
    const act = async (intent: Intent, subject: ISubject): Promise<string> =>
      actOn(await chatInView(app, chats), intent, subject);
    addToolbars(rendermime, notebooks, async (node, intent, error) => {
      const found = cellAt(notebooks, node);
      return found ? act(intent, { ...found, error: describeError(error) }) : '';
    });
    addCommands(app, notebooks, palette, act);
  }
};
