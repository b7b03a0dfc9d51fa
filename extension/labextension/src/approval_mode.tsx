/**
 * The picker of who decides what runs, below a chat's input. The choice is remembered
 * by the browser and goes with each message; the server says what may be chosen, and
 * has the last word.
 */

import {
  IChatTracker,
  type IChatPanel,
  type IToolbarItemProps
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import * as React from 'react';

type Mode = 'read-only' | 'ask' | 'auto';

/** What `GET caesarion/api/status` tells of here. */
interface IModes {
  default: Mode;
  allowed: Mode[];
}

const WORDS: Record<Mode, [string, string]> = {
  auto: ['Run at once', 'Code of the agent runs at once.'],
  ask: ['Ask me', 'Each piece of code waits until you run it, edit it or refuse it.'],
  'read-only': ['Read only', 'The agent runs nothing; it can only answer.']
};

/** Milliseconds until the server is asked again after it did not answer. */
const AGAIN = 5_000;

const settings = ServerConnection.makeSettings();

/** Where the choice is kept: people of one browser may have servers of their own. */
const KEY = `caesarion:approval:${settings.baseUrl}`;

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
  const kept = window.localStorage.getItem(KEY) as Mode | null;
  return kept && modes.allowed.includes(kept) ? kept : modes.default;
}

function picker(
  known: Promise<IModes>,
  choose: (mode: Mode) => void
): (props: IToolbarItemProps) => JSX.Element {
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
      void known.then(setModes);
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
        onChange={event => choose(event.target.value as Mode)}
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
    const known = fetchModes();
    const stamp = (chat: IChatPanel, mode: Mode): void =>
      chat.model.input.updateMetadata({ approval: mode });
    const choose = (mode: Mode): void => {
      window.localStorage.setItem(KEY, mode);
      chats.forEach(chat => stamp(chat, mode));
    };
    const Picker = picker(known, choose);
    const serve = (chat: IChatPanel): void => {
      chat.widget.inputToolbarRegistry?.addItem('caesarion-approval', {
        element: Picker,
        position: 5
      });
      void known.then(modes => {
        if (!chat.isDisposed) {
          stamp(chat, chosen(modes));
        }
      });
    };
    chats.forEach(serve);
    chats.widgetAdded.connect((_, chat) => serve(chat));
  }
};
