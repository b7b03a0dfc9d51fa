/**
 * The picker of who decides what runs, below a chat's input. The choice is remembered
 * by the browser and goes with each message; the server says what may be chosen, and
 * has the last word.
 */

import {
  IChatTracker,
  type IChatModel,
  type IChatPanel,
  type IToolbarItemProps
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import * as React from 'react';

import { metadataOf } from './message_metadata';

export type Mode = 'read-only' | 'plan' | 'ask' | 'accept-edits' | 'auto';

/** What `GET caesarion/api/status` tells of here. */
interface IModes {
  default: Mode;
  allowed: Mode[];
}

const WORDS: Record<Mode, [string, string]> = {
  auto: ['Run at once', 'Changes and code of the agent are made and run at once.'],
  'accept-edits': [
    'Accept edits',
    'Changes of notebooks are made at once and marked; code waits for you.'
  ],
  ask: ['Ask me', 'Each change and each piece of code waits until you decide about it.'],
  plan: [
    'Plan first',
    'The agent reads, changes and runs nothing, and ends with a plan.'
  ],
  'read-only': ['Read only', 'The agent changes and runs nothing; it can only answer.']
};

/** What the modes are called. */
export const MODE_NAMES = Object.fromEntries(
  Object.entries(WORDS).map(([mode, [name]]) => [mode, name])
) as Record<Mode, string>;

/** Milliseconds until the server is asked again after it did not answer. */
const AGAIN = 5_000;

const settings = ServerConnection.makeSettings();

/** Where the choice is kept: people of one browser may have servers of their own. */
const KEY = `caesarion:approval:${settings.baseUrl}`;

/** The same of the last mode in which calls could be made. */
const KEY_OF_ACTING = `${KEY}:acting`;

async function fetchModes(): Promise<IModes> {
  for (;;) {
    try {
      const url = URLExt.join(settings.baseUrl, 'caesarion/api/status');
      const answer = await ServerConnection.makeRequest(url, {}, settings);
      if (answer.ok) {
        return ((await answer.json()) as { approval: IModes }).approval;
      }
    } catch {
      // The server is away: asked again below.
    }
    await new Promise(resolve => window.setTimeout(resolve, AGAIN));
  }
}

/** The mode that was chosen here before, if it is still allowed. */
function chosen(modes: IModes): Mode {
  return kept(modes, KEY) ?? modes.default;
}

function kept(modes: IModes, key: string): Mode | null {
  const mode = window.localStorage.getItem(key) as Mode | null;
  return mode && modes.allowed.includes(mode) ? mode : null;
}

/** Whether calls with effects can be made in a mode. */
function acts(mode: Mode): boolean {
  return mode !== 'plan' && mode !== 'read-only';
}

/** The choice of the mode, the same in all chats of this page. */
class ModeChoice {
  constructor(private readonly _chats: IChatTracker) {}

  readonly known = fetchModes();

  /** Choose a mode for all chats; the one before a plan is where the plan is carried out. */
  choose(mode: Mode): void {
    window.localStorage.setItem(KEY, mode);
    if (acts(mode)) {
      window.localStorage.setItem(KEY_OF_ACTING, mode);
    }
    this._chats.forEach(chat => this.stamp(chat, mode));
  }

  stamp(chat: IChatPanel, mode: Mode): void {
    chat.model.input.updateMetadata({ approval: mode });
  }

  /** The mode in which a plan is carried out: the one before, or "ask"; null if none may be. */
  async modeOfPlan(): Promise<Mode | null> {
    const modes = await this.known;
    const before = kept(modes, KEY_OF_ACTING) ?? modes.default;
    if (acts(before)) {
      return before;
    }
    return modes.allowed.includes('ask') ? 'ask' : null;
  }
}

let choice: ModeChoice | null = null;

/** Return the mode in which a plan would be carried out, or null. */
export async function modeOfPlan(): Promise<Mode | null> {
  return choice ? choice.modeOfPlan() : null;
}

/** Carry the plan of a chat out, in a mode that becomes the chosen one. */
export function carryOut(model: IChatModel, mode: Mode): void {
  choice?.choose(mode);
  model.sendMessage({
    body: 'Go ahead with the plan.',
    metadata: { ...metadataOf(model.input), approval: mode }
  });
}

function picker(choice: ModeChoice): (props: IToolbarItemProps) => JSX.Element {
  return function ApprovalPicker({ model, edit }: IToolbarItemProps) {
    const [modes, setModes] = React.useState<IModes | null>(null);
    const [mode, setMode] = React.useState<Mode | null>(null);
    React.useEffect(() => {
      const follow = (): void => {
        const stamp = model.getMetadata()['approval'] as Mode | undefined;
        setMode(stamp ?? null);
      };
      model.metadataChanged.connect(follow);
      follow();
      void choice.known.then(setModes);
      return () => {
        model.metadataChanged.disconnect(follow);
      };
    }, [model]);
    if (edit || !modes) {
      return <></>;
    }
    const now = mode ?? modes.default;
    return (
      <select
        className="jp-Caesarion-approval"
        data-mode={now}
        aria-label="Who decides what runs"
        title={WORDS[now][1]}
        value={now}
        disabled={modes.allowed.length < 2}
        onChange={event => choice.choose(event.target.value as Mode)}
      >
        {[...modes.allowed].reverse().map(one => (
          <option key={one} value={one} title={WORDS[one][1]}>
            {WORDS[one][0]}
          </option>
        ))}
      </select>
    );
  };
}

export const approvalMode: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:approval-mode',
  description: 'Lets people choose whether code of the agent waits for them.',
  autoStart: true,
  optional: [IChatTracker],
  activate: (_app, chats: IChatTracker | null) => {
    if (!chats) {
      return;
    }
    const made = (choice = new ModeChoice(chats));
    const Picker = picker(made);
    const serve = (chat: IChatPanel): void => {
      chat.widget.inputToolbarRegistry?.addItem('caesarion-approval', {
        element: Picker,
        position: 5
      });
      void made.known.then(modes => {
        if (!chat.isDisposed) {
          made.stamp(chat, chosen(modes));
        }
      });
    };
    chats.forEach(serve);
    chats.widgetAdded.connect((_, chat) => serve(chat));
  }
};
