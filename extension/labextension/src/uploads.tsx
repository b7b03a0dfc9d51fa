/**
 * Files from this computer for the agent: dropped on a chat, pasted into it or chosen by a
 * button in its toolbar. They are sent by upload_queue.ts and shown by upload_rows.tsx.
 */

import {
  IChatCommandRegistry,
  IChatTracker,
  TooltippedIconButton,
  type IChatCommandProvider,
  type IChatPanel,
  type IInputModel,
  type IToolbarItemProps
} from '@jupyter/chat';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ReactWidget } from '@jupyterlab/apputils';
import { FileDialog } from '@jupyterlab/filebrowser';
import { folderIcon, LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import { Limits } from './upload_limits';
import { UploadQueue } from './upload_queue';
import { UploadRows } from './upload_rows';

const clipIcon = new LabIcon({
  name: 'caesarion:clip',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">' +
    '<path class="jp-icon3" fill="#616161" d="M15 6v10.5a3 3 0 0 1-6 0V5a4.5 4.5 0 0 1 9 0v11.5' +
    'a6 6 0 0 1-12 0V6h1.6v10.5a4.4 4.4 0 0 0 8.8 0V5a2.9 2.9 0 0 0-5.8 0v11.5' +
    'a1.4 1.4 0 0 0 2.8 0V6z"/></svg>'
});

/** Keep `widget` right above the input of `chat`, however often the chat is drawn anew. */
function putAboveInput(chat: IChatPanel, widget: Widget): void {
  const host = document.createElement('div');
  host.className = 'jp-Caesarion-aboveInput';
  const selector = `.jp-chat-input-container[data-input-id="${chat.model.input.id}"]`;
  const place = (): void => {
    const input = chat.node.querySelector(selector);
    if (input && host.nextSibling !== input) {
      input.before(host);
    }
    if (host.isConnected && !widget.isAttached) {
      Widget.attach(widget, host);
    }
  };
  const observer = new MutationObserver(place);
  observer.observe(chat.node, { childList: true, subtree: true });
  chat.disposed.connect(() => {
    observer.disconnect();
    widget.dispose();
  });
  place();
}

/** Let files from the desktop be dropped on `chat`. Drags within the lab are not the browser's. */
function takeDrops(chat: IChatPanel, queue: UploadQueue): void {
  const { node } = chat.widget;
  const target = document.createElement('div');
  target.className = 'jp-Caesarion-dropTarget';
  target.textContent = 'Drop files here to upload and attach them.';

  const brings = (event: DragEvent): boolean =>
    event.dataTransfer?.types.includes('Files') ?? false;
  const over = (event: DragEvent): void => {
    if (brings(event)) {
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer!.dropEffect = 'copy';
      if (!target.isConnected) {
        node.append(target);
      }
    }
  };
  node.addEventListener('dragenter', over, true);
  node.addEventListener('dragover', over, true);
  node.addEventListener('dragleave', event => {
    if (!node.contains(event.relatedTarget as Node | null)) {
      target.remove();
    }
  });
  node.addEventListener(
    'drop',
    event => {
      target.remove();
      if (brings(event)) {
        event.preventDefault();
        event.stopPropagation();
        const { files, folders } = dropped(event.dataTransfer!);
        queue.add(files, folders);
        chat.model.input.focus();
      }
    },
    true
  );
}

/** Let images that are pasted into the box of `chat` be uploaded, such as a picture of the screen. */
function takePastes(chat: IChatPanel, queue: UploadQueue): void {
  chat.widget.node.addEventListener(
    'paste',
    event => {
      const { files, types } = event.clipboardData!;
      // What office programs copy is text, and a picture of it.
      if (files.length > 0 && !types.includes('text/plain')) {
        event.preventDefault();
        event.stopPropagation();
        queue.add(files);
      }
    },
    true
  );
}

/** Tell files from folders, which look like files but for one old call. */
function dropped(data: DataTransfer): { files: File[]; folders: string[] } {
  const files: File[] = [];
  const folders: string[] = [];
  for (const item of data.items) {
    const file = item.kind === 'file' ? item.getAsFile() : null;
    if (item.webkitGetAsEntry()?.isDirectory) {
      folders.push(item.webkitGetAsEntry()!.name);
    } else if (file) {
      files.push(file);
    }
  }
  return { files, folders };
}

/**
 * Keep Enter from breaking the line where a message waits for an upload: the chat
 * forbids it only when the message goes.
 */
function keepLineWhole(chat: IChatPanel, queue: UploadQueue): void {
  chat.widget.node.addEventListener(
    'keydown',
    event => {
      const sends = event.shiftKey === !!chat.model.input.config.sendWithShiftEnter;
      if (event.key === 'Enter' && sends && queue.running) {
        event.preventDefault();
      }
    },
    true
  );
}

/** Let the user choose files of this computer. */
function choose(queue: UploadQueue, limits: Limits): void {
  const chooser = document.createElement('input');
  chooser.type = 'file';
  chooser.multiple = true;
  chooser.accept = (limits.known?.types ?? []).map(type => `.${type}`).join(',');
  chooser.onchange = () => queue.add(chooser.files ?? []);
  chooser.click();
}

/** Let the user choose files that are on the server already. */
async function attach(input: IInputModel): Promise<void> {
  const chosen = await FileDialog.getOpenFiles({
    title: 'Attach files that are on the server',
    manager: input.documentManager!
  });
  for (const file of chosen.value ?? []) {
    if (file.type !== 'directory') {
      input.addAttachment({ type: 'file', value: file.path });
    }
  }
}

function AttachButton({ model }: IToolbarItemProps): React.JSX.Element | null {
  const label = 'Attach files that are on the server';
  return model.documentManager ? (
    <TooltippedIconButton
      tooltip={label}
      onClick={() => void attach(model)}
      buttonProps={{ title: label, className: 'jp-chat-attach-button' }}
    >
      <folderIcon.react tag="span" width="16px" height="16px" />
    </TooltippedIconButton>
  ) : null;
}

function uploadButton(queue: UploadQueue, limits: Limits) {
  return function UploadButton({ edit }: IToolbarItemProps): React.JSX.Element | null {
    const label = 'Upload files from this computer';
    return edit ? null : (
      <TooltippedIconButton
        tooltip={label}
        onClick={() => choose(queue, limits)}
        buttonProps={{ title: label, className: 'jp-Caesarion-uploadFiles' }}
      >
        <clipIcon.react tag="span" width="16px" height="16px" />
      </TooltippedIconButton>
    );
  };
}

/** The files of each chat; and what holds a message back while some are on their way. */
class Uploads implements IChatCommandProvider {
  readonly id = '@caesarion/labextension:uploads';

  constructor(readonly limits: Limits) {}

  /** The files of `chat`: they go on while another chat is shown in its place. */
  of(chat: IChatPanel): UploadQueue {
    const { input } = chat.model;
    let queue = this._queues.get(input);
    if (!queue) {
      const begun = (queue = new UploadQueue(input, this.limits));
      this._queues.set(input, begun);
      chat.model.disposed.connect(() => begun.dispose());
    }
    return queue;
  }

  async listCommandCompletions(): Promise<[]> {
    return [];
  }

  async onSubmit(input: IInputModel): Promise<void> {
    if (!((await this._queues.get(input)?.settled()) ?? true)) {
      // A promise that is kept by nobody: the message stays in the box. To reject
      // would be an uncaught error in the chat.
      await new Promise(() => undefined);
    }
  }

  private _queues = new WeakMap<IInputModel, UploadQueue>();
}

export const uploads: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:uploads',
  description: 'Uploads files that are dropped on a chat or chosen in it.',
  autoStart: true,
  optional: [IChatTracker, IChatCommandRegistry],
  activate: (
    app,
    chats: IChatTracker | null,
    commands: IChatCommandRegistry | null
  ) => {
    const limits = new Limits(app.serviceManager.serverSettings);
    const all = new Uploads(limits);
    commands?.addProvider(all);
    const serve = (chat: IChatPanel): void => {
      const queue = all.of(chat);
      putAboveInput(chat, ReactWidget.create(<UploadRows queue={queue} />));
      takeDrops(chat, queue);
      takePastes(chat, queue);
      keepLineWhole(chat, queue);
      const toolbar = chat.widget.inputToolbarRegistry;
      toolbar?.hide('attach'); // Ours says where the files are that it attaches.
      toolbar?.addItem('caesarion-attach', { element: AttachButton, position: 20 });
      toolbar?.addItem('caesarion-upload', {
        element: uploadButton(queue, limits),
        position: 21
      });
    };
    chats?.forEach(serve);
    chats?.widgetAdded.connect((_, chat) => serve(chat));
  }
};
