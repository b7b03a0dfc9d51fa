/**
 * The cells of an answer: the renderers of calls, outputs, reasoning and weather, and what
 * the buttons of a cell do: copy it, insert it into a notebook, run it again.
 */

import { IChatTracker } from '@jupyter/chat';
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Clipboard } from '@jupyterlab/apputils';
import {
  INotebookTracker,
  NotebookActions,
  type NotebookPanel
} from '@jupyterlab/notebook';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';

import { chatRenderMime, messageRenderMime } from './chat_rendermime';
import { IChangeCards } from './change_card';
import { CALL_MIME, CallRenderer, type ICall, type ICallActions } from './call';
import { actOn } from './error_actions';
import { metadataOf } from './message_metadata';
import { OUTPUT_MIME, OutputRenderer } from './output';
import { REASONING_MIME, ReasoningRenderer } from './reasoning';
import { WEATHER_MIME, WeatherRenderer } from './weather_card';

/** Before the lab's own renderers, all of which have a rank above this. */
const FIRST = 0;

/** Return the notebook that was last used, or a new one with the kernel of the call. */
async function notebook(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker | null,
  call: ICall
): Promise<NotebookPanel> {
  const { kernels, kernelspecs } = app.serviceManager;
  const create = (): Promise<NotebookPanel> => {
    const running = [...kernels.running()].find(({ id }) => id === call.kernel_id);
    return app.commands.execute('notebook:create-new', {
      kernelId: running?.id,
      kernelName: running?.name ?? kernelspecs.specs?.default
    });
  };
  const panel = notebooks?.currentWidget ?? (await create());
  app.shell.activateById(panel.id);
  await panel.context.ready;
  return panel;
}

function actions(
  app: JupyterFrontEnd,
  chats: IChatTracker | null,
  notebooks: INotebookTracker | null
): ICallActions {
  const chatOf = (node: HTMLElement) =>
    chats?.find(panel => panel.node.contains(node));
  return {
    copy: async code => {
      await (navigator.clipboard?.writeText(code) ??
        Promise.resolve(Clipboard.copyToSystem(code)));
    },
    insert: async (call, node) => {
      const { content } = await notebook(app, notebooks, call);
      const active = content.activeCell?.model;
      if (active?.type !== 'code' || active.sharedModel.source) {
        NotebookActions.insertBelow(content);
      }
      const cell = content.activeCell?.model;
      cell?.sharedModel.setSource(call.code ?? '');
      cell?.setMetadata('caesarion', {
        made_by: 'agent',
        chat: chatOf(node)?.model.name ?? '',
        call: call.id
      });
    },
    rerun: (call, node) => {
      const model = chatOf(node)?.model;
      model?.sendMessage({
        body: call.execution_count
          ? `Run cell ${call.execution_count} again.`
          : 'Run this cell again.',
        metadata: {
          ...metadataOf(model?.input),
          run_again: { id: call.id, shown: call.code ?? call.label ?? '' }
        }
      });
    },
    act: async (intent, call, node) => {
      const chat = chatOf(node);
      const subject = { call: { id: call.id, shown: call.code ?? '' } };
      return chat ? actOn(chat, intent, subject) : '';
    }
  };
}

export const cells: JupyterFrontEndPlugin<void> = {
  id: '@caesarion/labextension:cells',
  description: 'Draws the calls of the agent, their outputs and its reasoning.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [IChatTracker, INotebookTracker, IChangeCards],
  activate: (
    app,
    rendermime: IRenderMimeRegistry,
    chats: IChatTracker | null,
    notebooks: INotebookTracker | null,
    changes: IChangeCards | null
  ) => {
    const chat = chatRenderMime(rendermime);
    const does = actions(app, chats, notebooks);
    const renderers: Record<string, () => IRenderMime.IRenderer> = {
      [CALL_MIME]: () => new CallRenderer(chat, does, changes),
      [OUTPUT_MIME]: () => new OutputRenderer(chat),
      [REASONING_MIME]: () => new ReasoningRenderer(chat)
    };
    const messages = messageRenderMime(rendermime);
    for (const [type, createRenderer] of Object.entries(renderers)) {
      messages.addFactory({ safe: true, mimeTypes: [type], createRenderer });
    }
    // The weather is an output, also in a notebook.
    chat.addFactory(
      { safe: true, mimeTypes: [WEATHER_MIME], createRenderer: () => new WeatherRenderer() },
      FIRST
    );
  }
};
