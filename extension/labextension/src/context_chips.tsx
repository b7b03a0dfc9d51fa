/**
 * The chips above the input, which show what goes along with a message. Drawn from what
 * context.tsx has collected.
 */

import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';
import * as React from 'react';

/** One thing that goes along; `toggle` leaves it out, or takes it in again. */
export interface IChip {
  key: string;
  icon: LabIcon;
  label: string;
  /** What a screen reader and the tooltip say it is. */
  what: string;
  on: boolean;
  toggle: () => void;
}

/** What has chips, and says when they change. */
interface IChips {
  readonly chips: IChip[];
  readonly changed: ISignal<IChips, void>;
}

function Chip({ chip }: { chip: IChip }): JSX.Element {
  const told = chip.on
    ? `Goes along: ${chip.what}. Click to leave it out.`
    : `Left out: ${chip.what}. Click to send it along again.`;
  return (
    <button
      type="button"
      className="jp-Caesarion-chip"
      aria-pressed={chip.on}
      aria-label={told}
      title={told}
      onClick={event => {
        event.stopPropagation();
        chip.toggle();
      }}
    >
      <chip.icon.react tag="span" className="jp-Caesarion-chipIcon" />
      <span className="jp-Caesarion-chipLabel">{chip.label}</span>
      <span className="jp-Caesarion-chipAction" aria-hidden="true">
        {chip.on ? '×' : '+'}
      </span>
    </button>
  );
}

/** The chips of one chat, drawn anew whenever what goes along changes. */
export class Chips extends ReactWidget {
  constructor(private _context: IChips) {
    super();
    this.addClass('jp-Caesarion-chips');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', 'What goes along with your message');
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this._context.changed}>
        {() => (
          <>
            {this._context.chips.map(chip => (
              <Chip key={chip.key} chip={chip} />
            ))}
          </>
        )}
      </UseSignal>
    );
  }
}
