/**
 * What the agent was told with a question, of files, the selected cell and variables, to
 * be opened under it. The server puts it into the message's metadata when it answers
 * (docs/http.md).
 */

import {
  IMessagePreambleRegistry,
  type IPreambleProps
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PathExt } from '@jupyterlab/coreutils';
import * as React from 'react';

/** One attached file: where it lay, and what was found in it. */
interface IKnown {
  path: string;
  digest: string;
}

/** The names of what context.tsx has stamped on a message. */
function partNames(metadata: Readonly<Record<string, unknown>>): string[] {
  const cell = metadata['cell'] as { number?: number } | undefined;
  const variables = metadata['variables'];
  return [
    ...(cell?.number ? [`cell ${cell.number}`] : []),
    ...(Array.isArray(variables) ? variables.map(name => `@${name}`) : [])
  ];
}

function ContextDetails({ message }: IPreambleProps): React.JSX.Element | null {
  const ours = message.metadata?.['caesarion'] as
    { attached?: Record<string, IKnown>; context?: string } | undefined;
  const files = Object.values(ours?.attached ?? {});
  const parts: string[] = [];
  if (files.length) {
    parts.push(files.length > 1 ? `${files.length} files` : PathExt.basename(files[0]!.path));
  }
  if (ours?.context) {
    parts.push(...partNames(message.metadata ?? {}));
  }
  if (parts.length === 0) {
    return null;
  }
  const what = parts.join(', ');
  return (
    <details className="jp-Caesarion-contextDetails">
      <summary>What the agent was told of {what}</summary>
      {files.map(file => (
        <React.Fragment key={file.path}>
          <div>{file.path}</div>
          <pre>{file.digest}</pre>
        </React.Fragment>
      ))}
      {ours?.context && <pre>{ours.context}</pre>}
    </details>
  );
}

export const contextDetails: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:context-details',
  description: 'Shows what the agent was told of the files attached to a message.',
  autoStart: true,
  optional: [IMessagePreambleRegistry],
  activate: (_app, preambles: IMessagePreambleRegistry | null) => {
    preambles?.addComponent(ContextDetails);
  }
};
