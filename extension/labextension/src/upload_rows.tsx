/**
 * The uploads of a chat as rows above its input. Drawn by uploads.tsx from what
 * upload_queue.ts knows.
 */

import { UseSignal } from '@jupyterlab/apputils';
import {
  closeIcon,
  fileIcon,
  refreshIcon,
  type LabIcon
} from '@jupyterlab/ui-components';
import * as React from 'react';

import { formatSize } from './upload_limits';
import { isRunning, type IUpload, type UploadQueue } from './upload_queue';

/** The bar of one file, and the bytes beside it. */
function Progress({ upload }: { upload: IUpload }): React.JSX.Element {
  const size = upload.file!.size;
  const percent = size ? Math.floor((100 * upload.sent) / size) : 100;
  const told = {
    waiting: 'waits for the file before it',
    sending: `${percent} % of ${formatSize(size)}`,
    checking: 'is being looked into'
  }[upload.state as 'waiting' | 'sending' | 'checking'];
  return (
    <>
      <div
        className="jp-Caesarion-uploadBar"
        role="progressbar"
        aria-label={`Upload of ${upload.name}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
        aria-valuetext={told}
      >
        <div style={{ width: `${percent}%` }} />
      </div>
      <span className="jp-Caesarion-uploadSize">{told}</span>
    </>
  );
}

function IconButton(props: {
  icon: LabIcon;
  label: string;
  onClick: () => void;
}): React.JSX.Element {
  return (
    <button
      type="button"
      className="jp-Caesarion-uploadButton"
      aria-label={props.label}
      title={props.label}
      onClick={props.onClick}
    >
      <props.icon.react tag="span" width="14px" height="14px" />
    </button>
  );
}

/** One file: how far it is, or why it did not arrive. */
function Row(props: { queue: UploadQueue; one: IUpload }): React.JSX.Element {
  const { queue, one } = props;
  const running = isRunning(one);
  return (
    <li className="jp-Caesarion-upload" data-state={one.state}>
      <fileIcon.react tag="span" width="14px" height="14px" />
      <span className="jp-Caesarion-uploadName" title={one.name}>
        {one.name}
      </span>
      {running ? (
        <Progress upload={one} />
      ) : (
        <span className="jp-Caesarion-uploadSentence" role="alert">
          {one.sentence}
        </span>
      )}
      {one.state === 'broken' && (
        <IconButton
          icon={refreshIcon}
          label={`Upload ${one.name} again`}
          onClick={() => queue.retry(one)}
        />
      )}
      <IconButton
        icon={closeIcon}
        label={running ? `Cancel the upload of ${one.name}` : `Dismiss ${one.name}`}
        onClick={() => (running ? queue.cancel(one) : queue.dismiss(one))}
      />
    </li>
  );
}

/** The uploads of one chat: progress bars, and why a file did not arrive. */
export function UploadRows({ queue }: { queue: UploadQueue }): React.JSX.Element {
  return (
    <UseSignal signal={queue.changed}>
      {() => (
        <>
          {queue.all.length > 0 && (
            <ul className="jp-Caesarion-uploads" aria-label="Uploads">
              {queue.all.map((one, index) => (
                <Row key={`${index} ${one.name}`} queue={queue} one={one} />
              ))}
            </ul>
          )}
          <div className="jp-Caesarion-uploadsNote" role="status">
            {queue.awaited ? (
              'Your message is sent as soon as the upload is done.'
            ) : (
              <span className="jp-Caesarion-forScreenReaders">{queue.news}</span>
            )}
          </div>
        </>
      )}
    </UseSignal>
  );
}
