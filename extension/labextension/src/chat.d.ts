/**
 * The little of jupyterlab-chat 0.25 that is used here. Its packages are shared
 * with the lab at run time and are not all on npm, hence these declarations.
 */

declare module '@jupyter/chat' {
  import type { IWidgetTracker } from '@jupyterlab/apputils';
  import type { Token } from '@lumino/coreutils';
  import type { ISignal } from '@lumino/signaling';
  import type { Widget } from '@lumino/widgets';

  /** What is being typed; its metadata goes out with the next message. */
  export interface IInputModel {
    readonly id: string;
    value: string;
    readonly valueChanged: ISignal<IInputModel, string>;
    /** The word at the cursor, up to spaces. */
    readonly currentWord: string | null;
    focus(): void;
    getMetadata(): Readonly<Record<string, unknown>>;
    /** Merge `patch`, key by key; a key set to undefined is not sent. */
    updateMetadata(patch: Record<string, unknown>): void;
  }

  /** The messages of a chat, and the box below them. */
  export interface IChatModel {
    /** The chat's own id; it comes with the connection. */
    readonly id: string | undefined;
    /** The path of its file. */
    readonly name: string;
    readonly input: IInputModel;
    sendMessage(message: {
      body: string;
      metadata?: Record<string, unknown>;
    }): unknown;
  }

  /** A chat in the side panel or in the main area. */
  export interface IChatPanel extends Widget {
    readonly area: 'main' | 'sidebar';
    /** What the side panel calls it; a chat in the main area has none. */
    name?: string;
    readonly model: IChatModel;
  }

  /** An entry of the menu that opens while one types. */
  export interface ChatCommand {
    name: string;
    providerId: string;
    description?: string;
    spaceOnAccept?: boolean;
  }

  export interface IChatCommandProvider {
    readonly id: string;
    listCommandCompletions(input: IInputModel): Promise<ChatCommand[]>;
    /** Called before a message is sent; may still change it. */
    onSubmit(input: IInputModel): Promise<void>;
  }

  export interface IChatCommandRegistry {
    addProvider(provider: IChatCommandProvider): void;
    onSubmit(input: IInputModel): Promise<void>;
  }
  export const IChatCommandRegistry: Token<IChatCommandRegistry>;

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
