/**
 * What the agent was told of the files that came with a question, to be opened under
 * it. The server puts it into the message's metadata when it answers (docs/http.md).
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

function Told({ message }: IPreambleProps): React.JSX.Element | null {
  const ours = message.metadata?.['caesarion'] as
    { attached?: Record<string, IKnown> } | undefined;
  const files = Object.values(ours?.attached ?? {});
  if (files.length === 0) {
    return null;
  }
  const what = files.length > 1 ? `${files.length} files` : PathExt.basename(files[0]!.path);
  return (
    <details className="jp-Caesarion-told">
      <summary>What the agent was told of {what}</summary>
      {files.map(file => (
        <React.Fragment key={file.path}>
          <div>{file.path}</div>
          <pre>{file.digest}</pre>
        </React.Fragment>
      ))}
    </details>
  );
}

export const told: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:told',
  description: 'Shows what the agent was told of the files attached to a message.',
  autoStart: true,
  optional: [IMessagePreambleRegistry],
  activate: (_app, preambles: IMessagePreambleRegistry | null) => {
    preambles?.addComponent(Told);
  }
};
