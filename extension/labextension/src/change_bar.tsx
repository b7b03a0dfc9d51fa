/**
 * The bar at the top of a notebook in which changes of the agent wait: how many, all at once, and
 * one after the other. Made by changes.ts for each notebook panel.
 */

import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import { caretDownIcon, caretUpIcon, type LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { buttonsOf, summaryOf } from './change_words';
import type { Verdict } from './decision';
import type { NotebookChanges } from './notebook_changes';
import type { IChange } from './page_channel';

function Step(props: { icon: LabIcon; label: string; press: () => void }): JSX.Element {
  const { icon, label, press } = props;
  return (
    <button type="button" className="jp-mod-step" title={label} aria-label={label} onClick={press}>
      <icon.react tag="span" elementSize="normal" />
    </button>
  );
}

/** The two buttons for all changes in one state. */
function All(props: {
  changes: NotebookChanges;
  state: IChange['state'];
}): JSX.Element | null {
  const { changes, state } = props;
  const due = changes.changes.filter(change => change.state === state);
  if (!due.length) {
    return null;
  }
  const words = buttonsOf(state);
  const button = (verdict: Verdict): JSX.Element => (
    <button
      type="button"
      className={`jp-mod-${verdict}`}
      // Not disabled, which would lose the focus.
      aria-disabled={changes.isDeciding}
      onClick={event => {
        if (event.nativeEvent.isTrusted && !changes.isDeciding) {
          void changes.decide(due, verdict);
        }
      }}
    >
      {words[verdict]} all
    </button>
  );
  return (
    <>
      {button('accept')}
      {button('reject')}
    </>
  );
}

function Bar({ changes }: { changes: NotebookChanges }): JSX.Element {
  const { length } = changes.changes;
  const at = changes.index < 0 ? '' : `${changes.index + 1} of ${length}`;
  // "3 changes", and what is left out where there is no room.
  const [count, ...rest] = summaryOf(changes.changes).split(/(?<=changes?)\b/);
  return (
    <>
      <span className="jp-Caesarion-changeBarCount">
        {count}
        <span>{rest.join('')}</span>
      </span>
      <All changes={changes} state="proposed" />
      <All changes={changes} state="applied" />
      <span className="jp-Caesarion-changeBarSteps">
        <span className="jp-Caesarion-changeBarAt">{at}</span>
        <Step icon={caretUpIcon} label="Previous change (Shift+F8)" press={() => changes.walk(-1)} />
        <Step icon={caretDownIcon} label="Next change (F8)" press={() => changes.walk(1)} />
      </span>
    </>
  );
}

export class ChangeBar extends ReactWidget {
  constructor(private readonly _changes: NotebookChanges) {
    super();
    this.addClass('jp-Caesarion-changeBar');
    this.node.setAttribute('role', 'toolbar');
    this.node.setAttribute('aria-label', 'Changes of the agent');
    _changes.changed.connect(this._toggle, this);
    this._toggle();
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this._changes.changed}>{() => <Bar changes={this._changes} />}</UseSignal>
    );
  }

  private _toggle(): void {
    this.setHidden(this._changes.changes.length === 0);
  }
}
