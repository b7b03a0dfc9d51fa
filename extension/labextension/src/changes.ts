/**
 * The agent's changes in notebooks: draws them in each notebook (notebook_changes.ts,
 * change_view.ts), with a bar on top (change_bar.tsx), and in the chat (change_card.ts), and adds
 * the commands that walk through them and decide. Their shortcuts are in schema/changes.json.
 */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';

import { isChosenCommand } from './by_person';
import { ChangeBar } from './change_bar';
import { ChangeCards, IChangeCards, type ICellChange } from './change_card';
import { summaryOf } from './change_words';
import type { Verdict } from './decision';
import { NotebookChanges } from './notebook_changes';
import { IOpenNotebooks } from './open_notebooks';
import type { IChange } from './page_channel';

/** Above the notebook's own toolbar's items, which have none. */
const CATEGORY = 'Changes of the agent';

type Act = (changes: NotebookChanges) => void;

const COMMANDS: Record<string, readonly [string, Act]> = {
  'next-change': ['Go to the next change', changes => changes.walk(1)],
  'previous-change': ['Go to the previous change', changes => changes.walk(-1)],
  'accept-change': ['Accept this change', changes => decideOne(changes, 'accept')],
  'reject-change': ['Reject this change', changes => decideOne(changes, 'reject')],
  'accept-all-changes': ['Accept all changes', changes => decideAll(changes, 'accept')],
  'reject-all-changes': ['Reject all changes', changes => decideAll(changes, 'reject')]
};

function decideOne(changes: NotebookChanges, verdict: Verdict): void {
  const { target } = changes;
  decide(changes, target ? [target] : [], verdict);
}

function decideAll(changes: NotebookChanges, verdict: Verdict): void {
  decide(changes, changes.changes, verdict);
}

function decide(changes: NotebookChanges, due: readonly IChange[], verdict: Verdict): void {
  if (due.length && isChosenCommand()) {
    void changes.decide(due, verdict);
  } else {
    // None is meant yet, or something else than its person has called the command: show one.
    changes.walk(1);
  }
}

/** A place that screen readers follow; what is told in it is not to be seen. */
function makeAnnouncer(): (sentence: string) => void {
  const node = document.createElement('div');
  node.className = 'jp-Caesarion-announcer';
  node.setAttribute('role', 'status');
  document.body.append(node);
  return sentence => (node.textContent = sentence);
}

function addCommands(
  app: JupyterFrontEnd,
  palette: ICommandPalette | null,
  current: () => NotebookChanges | undefined
): void {
  const has = (): boolean => (current()?.changes.length ?? 0) > 0;
  for (const [name, [label, act]] of Object.entries(COMMANDS)) {
    const command = `caesarion:${name}`;
    app.commands.addCommand(command, {
      label,
      isEnabled: has,
      execute: () => {
        const changes = current();
        if (changes) {
          act(changes);
        }
      }
    });
    palette?.addItem({ command, category: CATEGORY });
  }
  // Where a cell or a change has the focus, the lab's own Ctrl+Z undoes in the active cell alone.
  app.commands.addCommand('caesarion:undo-change', {
    label: 'Undo the last change',
    execute: () => (current()?.undo() ? undefined : app.commands.execute('editmenu:undo'))
  });
}

/** Go to a change where it is drawn, or to its cell; opens the notebook if need be. */
async function reveal(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  open: IOpenNotebooks,
  known: Map<NotebookPanel, NotebookChanges>,
  { path, id, cell_id }: ICellChange
): Promise<void> {
  const find = (): NotebookPanel | undefined =>
    tracker.find(panel => panel.context.localPath === path);
  if (!find()) {
    await app.commands.execute('docmanager:open', { path });
  }
  const panel = find();
  await panel?.context.ready;
  const made = panel && known.get(panel);
  if (made?.changes.some(change => change.id === id)) {
    app.shell.activateById(panel!.id);
    made.reveal(id);
  } else {
    open.reveal(path, cell_id);
  }
}

export const changes: JupyterFrontEndPlugin<IChangeCards> = {
  id: '@caesarion/labextension:changes',
  description: 'Shows what the agent changes in notebooks, and lets people decide about it.',
  autoStart: true,
  provides: IChangeCards,
  requires: [INotebookTracker, IOpenNotebooks, IEditorLanguageRegistry],
  optional: [ICommandPalette],
  activate: (
    app,
    tracker: INotebookTracker,
    open: IOpenNotebooks,
    languages: IEditorLanguageRegistry,
    palette: ICommandPalette | null
  ) => {
    const known = new Map<NotebookPanel, NotebookChanges>();
    const announce = makeAnnouncer();
    const current = (): NotebookChanges | undefined =>
      tracker.currentWidget ? known.get(tracker.currentWidget) : undefined;
    const serve = (panel: NotebookPanel): void => {
      const made = new NotebookChanges(panel, open, languages);
      known.set(panel, made);
      panel.disposed.connect(() => known.delete(panel));
      panel.contentHeader.addWidget(new ChangeBar(made));
      let told = '';
      made.changed.connect(() => {
        const summary = summaryOf(made.changes);
        if (summary !== told) {
          told = summary;
          announce(summary && `${summary} in ${made.path}`);
          Object.keys(COMMANDS).forEach(name =>
            app.commands.notifyCommandChanged(`caesarion:${name}`)
          );
        }
      });
    };
    addCommands(app, palette, current);
    tracker.forEach(serve);
    tracker.widgetAdded.connect((_, panel) => serve(panel));
    return new ChangeCards(open, languages, change =>
      reveal(app, tracker, open, known, change)
    );
  }
};
