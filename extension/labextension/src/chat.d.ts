/**
 * The little of jupyterlab-chat 0.25 that is used here. Its packages are shared
 * with the lab at run time and are not all on npm, hence these declarations.
 */

declare module '@jupyter/chat' {
  import type { IWidgetTracker } from '@jupyterlab/apputils';
  import type { Token } from '@lumino/coreutils';
  import type { Widget } from '@lumino/widgets';

  /** What is being typed; its metadata goes out with the next message. */
  export interface IInputModel {
    getMetadata(): Readonly<Record<string, unknown>>;
    /** Merge `patch`, key by key; a key set to undefined is not sent. */
    updateMetadata(patch: Record<string, unknown>): void;
  }

  /** A chat in the side panel or in the main area. */
  export interface IChatPanel extends Widget {
    readonly area: 'main' | 'sidebar';
    /** What the side panel calls it; a chat in the main area has none. */
    name?: string;
    readonly model: { readonly input: IInputModel };
  }

  export type IChatTracker = IWidgetTracker<IChatPanel>;
  export const IChatTracker: Token<IChatTracker>;
}

declare module 'jupyterlab-chat' {
  import type { Token } from '@lumino/coreutils';
  import type { ISignal } from '@lumino/signaling';
  import type { Widget } from '@lumino/widgets';

  /** The side panel that holds the chats. */
  export const IMultiChatPanel: Token<Widget>;

  /** The chat's settings; empty until they are loaded and their folder is made. */
  export interface IWidgetConfig {
    readonly config: { readonly defaultDirectory?: string };
    readonly configChanged: ISignal<IWidgetConfig, unknown>;
  }

  export const IWidgetConfig: Token<IWidgetConfig>;
}
