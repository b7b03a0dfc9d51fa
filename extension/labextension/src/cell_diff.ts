/**
 * The source of a cell, as a change would leave it, and how it differs from before: red lines
 * go, green lines come. Read-only.
 *
 * Loaded when the first change is drawn, as @codemirror/merge is of no use before. Used in the
 * notebook (change_view.ts) and in the chat (change_card.ts).
 *
 * Not jupyterlab-diff's view, which is in the image: 0.7 writes the new source into the cell
 * before anybody has decided, and the lab's autosave would keep it.
 */

import { unifiedMergeView } from '@codemirror/merge';
import { EditorState, type Extension } from '@codemirror/state';
import { Decoration, EditorView, highlightSpecialChars } from '@codemirror/view';
import { jupyterTheme, type IEditorLanguageRegistry } from '@jupyterlab/codemirror';

import { UNSEEN } from './exact_code';

/** A text that is shown, and where it comes from. */
export interface IShown {
  /** Null: it is new as a whole, and shown without marks. */
  readonly before: string | null;
  readonly after: string;
  readonly mimeType: string;
  /** What a screen reader says it is. */
  readonly label: string;
}

/** Lines around a change that are shown; longer stretches without changes are folded. */
const CONTEXT = { margin: 3, minSize: 6 };

/** Draw a source or a difference into `parent`. */
export async function drawSource(
  parent: HTMLElement,
  { before, after, mimeType, label }: IShown,
  languages: IEditorLanguageRegistry
): Promise<void> {
  const language = languages.findByMIME(mimeType);
  const { support } = (language && (await languages.getLanguage(language))) ?? {};
  const extensions: Extension[] = [
    EditorState.readOnly.of(true),
    EditorView.editable.of(false),
    EditorView.lineWrapping,
    highlightSpecialChars({ addSpecialChars: UNSEEN }),
    // Reachable by keyboard, which scrolls it then.
    EditorView.contentAttributes.of({ 'aria-label': label, 'tabindex': '0' }),
    jupyterTheme,
    support ?? []
  ];
  let doc = after;
  if (before !== null) {
    // @codemirror/merge 6.12 takes the last line for changed if another one is added below it.
    doc = `${after}\n`;
    const end = Decoration.line({ class: 'caesarion-source-end' }).range(doc.length);
    extensions.push(
      EditorView.decorations.of(Decoration.set(end)),
      unifiedMergeView({
        original: `${before}\n`,
        mergeControls: false,
        allowInlineDiffs: false,
        collapseUnchanged: CONTEXT
      })
    );
  }
  const view = new EditorView({ doc, extensions });
  parent.replaceChildren(view.dom);
}
