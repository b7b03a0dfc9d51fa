/**
 * An empty chat says what it is for and offers four questions. A click sends one
 * the way the input does, so that all that goes along goes along.
 */

import {
  IChatBodyPlaceholderFactory,
  IChatCommandRegistry,
  IChatTracker,
  type IChatPanel
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PathExt, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import {
  fileIcon,
  imageIcon,
  numberingIcon,
  variableIcon,
  LabIcon
} from '@jupyterlab/ui-components';
import * as React from 'react';

/** The demo model can answer all of these, too. */
interface ISuggestion {
  icon: LabIcon;
  question: string;
  /** What will be seen. */
  hint: string;
}

const weatherIcon = new LabIcon({
  name: '@caesarion/labextension:weather',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="M6.8 19A4.8 4.8 0 0 1 6 9.5 6 6 0 0 1 17.6 11 4 4 0 0 1 17 19z"/></svg>'
});

const PLOT: ISuggestion = {
  icon: imageIcon,
  question: 'Plot a sine wave',
  hint: 'Code that runs, and its plot'
};
const WEATHER: ISuggestion = {
  icon: weatherIcon,
  question: 'Weather in Lisbon',
  hint: 'Asked of a weather service'
};
const NUMBER: ISuggestion = {
  icon: numberingIcon,
  question: 'Compute the factorial of 20',
  hint: 'Computed, not guessed'
};
const VARIABLES: ISuggestion = {
  icon: variableIcon,
  question: 'What variables do I have?',
  hint: 'Those of your notebook, live'
};

function filesSuggestion(names: string[]): ISuggestion {
  const hint = names.length
    ? `${names[0]}${names.length > 1 ? ` and ${names.length - 1} more` : ''}`
    : 'Listed, and looked into';
  return { icon: fileIcon, question: 'What files do I have?', hint };
}

/** The names of the uploaded files; none if they cannot be told. */
async function uploaded(): Promise<string[]> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, 'caesarion/api/uploads');
  const answer = await ServerConnection.makeRequest(url, {}, settings);
  const files = answer.ok ? ((await answer.json()) as { name: string }[]) : [];
  return files.map(file => file.name);
}

/** What the component needs; the chats come later than the factory that they are made with. */
interface ILab {
  chats: IChatTracker | null;
  commands: IChatCommandRegistry | null;
}

async function send(
  lab: ILab,
  chat: IChatPanel,
  question: string
): Promise<void> {
  const { input } = chat.model;
  const draft = input.value;
  input.value = question;
  await lab.commands?.onSubmit(input);
  input.send(input.value);
  input.value = draft;
  input.focus();
}

function Suggestions({ lab }: { lab: ILab }): JSX.Element {
  const node = React.useRef<HTMLDivElement>(null);
  const [chat, setChat] = React.useState<IChatPanel | null>(null);
  const [path, setPath] = React.useState('');
  const [files, setFiles] = React.useState<string[]>([]);
  const [sent, setSent] = React.useState(false);

  React.useEffect(() => {
    const find = (): void =>
      setChat(
        lab.chats?.find(panel => panel.node.contains(node.current)) ?? null
      );
    find();
    lab.chats?.widgetAdded.connect(find);
    uploaded().then(setFiles, () => undefined);
    return () => void lab.chats?.widgetAdded.disconnect(find);
  }, [lab]);

  React.useEffect(() => {
    const input = chat?.model.input;
    const look = (): void => {
      // Only of a notebook in whose kernel Python runs.
      const { notebook_path, kernel_id } = input?.getMetadata() ?? {};
      setPath(kernel_id ? String(notebook_path ?? '') : '');
    };
    look();
    input?.metadataChanged.connect(look);
    return () => void input?.metadataChanged.disconnect(look);
  }, [chat]);

  const offered = [
    ...(files.length ? [filesSuggestion(files), PLOT] : [PLOT, filesSuggestion([])]),
    WEATHER,
    path ? VARIABLES : NUMBER
  ];
  return (
    <div className="jp-Caesarion-welcome" ref={node}>
      <h2>What shall we look at?</h2>
      <p>
        {path
          ? `I write Python and run it in the kernel of ${PathExt.basename(path)}: I see its variables, and it sees mine.`
          : 'I write Python and run it in a kernel of this chat. Open a notebook, and I work in its kernel.'}
      </p>
      <div
        className="jp-Caesarion-suggestions"
        role="group"
        aria-label="Questions to begin with"
      >
        {offered.map(({ icon, question, hint }) => (
          <button
            key={question}
            type="button"
            disabled={sent || !chat}
            onClick={event => {
              event.stopPropagation();
              setSent(true);
              send(lab, chat!, question).catch(() => setSent(false));
            }}
          >
            <icon.react tag="span" className="jp-Caesarion-suggestionIcon" />
            <span>
              <span className="jp-Caesarion-suggestionTitle">{question}</span>
              <span className="jp-Caesarion-suggestionHint">{hint}</span>
            </span>
          </button>
        ))}
      </div>
    </div>
  );
}

const lab: ILab = { chats: null, commands: null };

export const suggestions: JupyterFrontEndPlugin<IChatBodyPlaceholderFactory> = {
  id: '@caesarion/labextension:suggestions',
  description: 'Offers questions in an empty chat.',
  autoStart: true,
  provides: IChatBodyPlaceholderFactory,
  activate: () => ({ create: () => <Suggestions lab={lab} /> })
};

/** A plugin of its own: the chat tracker itself requires the factory above. */
export const suggestionsTarget: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:suggestions-target',
  description: 'Tells the questions of an empty chat where they are sent from.',
  autoStart: true,
  optional: [IChatTracker, IChatCommandRegistry],
  activate: (
    _app,
    chats: IChatTracker | null,
    commands: IChatCommandRegistry | null
  ) => {
    lab.chats = chats;
    lab.commands = commands;
  }
};
