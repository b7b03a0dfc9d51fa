/**
 * What a run without a document of its own has said and printed, as text. Drawn by runs_panel.tsx
 * when somebody opens such a run.
 */

import * as React from 'react';

import { runEvents, type IRunEvent } from './run_client';

/** Most characters that are shown: the last. */
const SHOWN = 20_000;

const ANSI = /\x1b\[[0-9;?]*[ -/]*[@-~]/g;

interface IOutput {
  readonly text?: string;
  readonly data?: Record<string, unknown>;
  readonly traceback?: readonly string[];
}

/** What an event adds to the text. */
export function textOf({ name, data }: IRunEvent): string {
  if (name === 'text' || name === 'refusal') {
    return String(data.delta);
  }
  if (name === 'error') {
    return `\n${String(data.message)}\n`;
  }
  if (name === 'tool_call') {
    return `\n\n> ${String(data.name)} ${String(data.arguments)}\n`;
  }
  if (name !== 'output') {
    return '';
  }
  const { text, data: bundle, traceback } = data.output as IOutput;
  if (traceback) {
    return `${traceback.join('\n')}\n`.replace(ANSI, '');
  }
  return (text ?? `${String(bundle?.['text/plain'] ?? '[not text]')}\n`).replace(ANSI, '');
}

export function RunOutput({ id, label }: { id: string; label: string }): JSX.Element {
  const [text, setText] = React.useState('');
  const [problem, setProblem] = React.useState('');
  React.useEffect(() => {
    const controller = new AbortController();
    const follow = async (): Promise<void> => {
      let all = '';
      let timer = 0;
      const show = (): void => {
        timer = 0;
        setText(all.trim());
      };
      for await (const event of runEvents(id, controller.signal)) {
        all = (all + textOf(event)).slice(-SHOWN);
        timer ||= window.setTimeout(show, 100);
      }
    };
    follow().catch((error: unknown) => {
      if (!controller.signal.aborted) {
        setProblem(error instanceof Error ? error.message : String(error));
      }
    });
    return () => controller.abort();
  }, [id]);
  return (
    <>
      <pre className="jp-Caesarion-runsOutput" tabIndex={0} aria-label={label}>
        {text || 'Nothing was shown.'}
      </pre>
      {problem && <div role="alert">{problem}</div>}
    </>
  );
}
