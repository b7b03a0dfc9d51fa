/**
 * What Caesarion adds to JupyterLab. Each plugin is one job; all of them do
 * nothing where the chat is switched off.
 */

import { IChatTracker } from '@jupyter/chat';
import { ILabShell, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Widget } from '@lumino/widgets';
import { IMultiChatPanel, IWidgetConfig } from 'jupyterlab-chat';

import { approval } from './approval_mode';
import { asking } from './message_footer';
import { cells } from './cells';
import { connection } from './connection';
import { context } from './context';
import { followAnswers } from './auto_scroll';
import { light } from './status_indicator';
import { notebooks } from './notebooks';
import { nameAsListed, openOnFirstVisit } from './first_visit';
import { suggesting, suggestions } from './suggestions';
import { told } from './context_details';
import { untrusted } from './untrusted_content';
import { uploads } from './uploads';

const following: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:following',
  description: 'Keeps the end of an answer in view while it grows.',
  autoStart: true,
  optional: [IChatTracker],
  activate: (_app, chats: IChatTracker | null) => {
    if (chats) {
      followAnswers(chats);
    }
  }
};

const opening: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:opening',
  description: 'Opens a chat in the sidebar of a new workspace.',
  autoStart: true,
  optional: [ILabShell, IChatTracker, IWidgetConfig, IMultiChatPanel],
  activate: (
    app,
    shell: ILabShell | null,
    chats: IChatTracker | null,
    settings: IWidgetConfig | null,
    panel: Widget | null
  ) => {
    if (chats && settings) {
      nameAsListed(chats, settings);
    }
    if (shell && settings && panel) {
      openOnFirstVisit(app, shell, settings, panel).catch((reason: unknown) => {
        console.warn('The chat could not be opened.', reason);
      });
    }
  }
};

export default [
  approval,
  asking,
  cells,
  connection,
  context,
  following,
  light,
  notebooks,
  opening,
  suggesting,
  suggestions,
  told,
  untrusted,
  uploads
];
