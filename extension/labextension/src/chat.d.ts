/**
 * The little of jupyterlab-chat 0.25 that is used here. Its packages are shared
 * with the lab at run time and are not all on npm, hence these declarations.
 */

declare module '@jupyter/chat' {
  import type { IWidgetTracker } from '@jupyterlab/apputils';
  import type { IDocumentManager } from '@jupyterlab/docmanager';
  import type { Token } from '@lumino/coreutils';
  import type { ISignal } from '@lumino/signaling';
  import type { ReactWidget, Toolbar } from '@jupyterlab/ui-components';
  import type { Widget } from '@lumino/widgets';
  import type { FunctionComponent, ReactElement } from 'react';

  /** A file, or cells of a notebook. */
  export interface IAttachment {
    type: 'file' | 'notebook';
    value: string;
  }

  export interface IUser {
    username: string;
    bot?: boolean;
  }

  /** A message; it stays the same object when it changes. */
  export interface IMessage {
    readonly id: string;
    readonly body: string;
    readonly sender: IUser;
    readonly attachments?: IAttachment[];
    readonly mentions?: IUser[];
    readonly deleted?: boolean;
    readonly metadata?: Readonly<Record<string, unknown>>;
    readonly changed: ISignal<IMessage, void>;
  }

  /** What is being typed; its metadata goes out with the next message. */
  export interface IInputModel {
    readonly id: string;
    value: string;
    readonly valueChanged: ISignal<IInputModel, string>;
    /** The word at the cursor, up to spaces. */
    readonly currentWord: string | null;
    readonly attachments: IAttachment[];
    clearAttachments(): void;
    focus(): void;
    readonly config: { readonly sendWithShiftEnter?: boolean };
    /** What attaches files of the server; null where there is none. */
    readonly documentManager: IDocumentManager | null;
    addAttachment(attachment: IAttachment): void;
    /** Send a message with all that goes along, and clear the input. */
    send(body: string): void;
    readonly metadataChanged: ISignal<IInputModel, unknown>;
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
    readonly user?: IUser;
    readonly messages: readonly IMessage[];
    readonly messagesUpdated: ISignal<IChatModel, void>;
    readonly input: IInputModel;
    /** Who is writing has changed: a turn begins or ends, or goes on to something else. */
    readonly writersChanged: ISignal<IChatModel, unknown>;
    readonly disposed: ISignal<IChatModel, void>;
    /** The chat's own connection: private there, and the only sign that it is down. */
    readonly _wsHandler?: {
      readonly _socket: WebSocket | null;
      /** Resolves with the first connection; what is sent before is lost. */
      readonly ready: Promise<void>;
      _openSocket(): void;
    } | null;
    sendMessage(message: {
      body: string;
      attachments?: IAttachment[];
      mentions?: IUser[];
      metadata?: Record<string, unknown>;
    }): unknown;
  }

  /** A chat in the side panel or in the main area. */
  /** A chat as it is drawn, in the panel or the main area. */
  export const ChatWidget: { prototype: ReactWidget };

  export interface IChatPanel extends Widget {
    readonly area: 'main' | 'sidebar';
    /** What the side panel calls it; a chat in the main area has none. */
    name?: string;
    readonly model: IChatModel;
    readonly toolbar: Toolbar;
    /** The chat itself, without a title and a toolbar around it. */
    readonly widget: Widget & {
      readonly inputToolbarRegistry?: IInputToolbarRegistry;
    };
  }

  /** What an item in the toolbar below an input is given; `edit` is of a message to be changed. */
  export interface IToolbarItemProps {
    model: IInputModel;
    edit?: boolean;
  }

  export interface IInputToolbarRegistry {
    addItem(
      name: string,
      item: {
        element: FunctionComponent<IToolbarItemProps>;
        position: number;
      }
    ): void;
    hide(name: string): void;
  }

  /** A button as all in that toolbar are. */
  export const TooltippedIconButton: FunctionComponent<{
    tooltip: string;
    onClick: () => void;
    buttonProps?: { title: string; className: string };
    children: ReactElement;
  }>;
  /** Makes what an empty chat shows. */
  export interface IChatBodyPlaceholderFactory {
    create(props: { onSend: (body: string) => void }): JSX.Element | null;
  }
  export const IChatBodyPlaceholderFactory: Token<IChatBodyPlaceholderFactory>;

  export interface IPreambleProps {
    message: { readonly metadata?: Readonly<Record<string, unknown>> };
  }

  /** What stands above a message; drawn again when the message changes. */
  export interface IMessagePreambleRegistry {
    addComponent(component: FunctionComponent<IPreambleProps>): void;
  }
  export const IMessagePreambleRegistry: Token<IMessagePreambleRegistry>;

  export interface IFooterProps {
    model: IChatModel;
    message: IMessage;
  }

  /** What stands under a message; one section at each position. */
  export interface IMessageFooterRegistry {
    addSection(section: {
      component: FunctionComponent<IFooterProps>;
      position: 'left' | 'center' | 'right';
    }): void;
  }
  export const IMessageFooterRegistry: Token<IMessageFooterRegistry>;

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
  import type { IChatModel } from '@jupyter/chat';
  import type { DocumentRegistry } from '@jupyterlab/docregistry';
  import type { Token } from '@lumino/coreutils';
  import type { ISignal } from '@lumino/signaling';
  import type { Widget } from '@lumino/widgets';

  /** The side panel that holds the chats. */
  export interface IMultiChatPanel extends Widget {
    updateChatList: () => void;
    /** Show the chat of `model`, which goes by this name here. */
    open(chat: { model: ILabChatModel; displayName: string }): unknown;
  }

  /** A chat in a file. */
  export interface ILabChatModel extends IChatModel, DocumentRegistry.IModel {
    name: string;
    /** Connect to the chat at the path that is its name. */
    markDocumentSynced(): void;
    /** Resolves when the chat is connected. */
    readonly ready: Promise<void>;
  }

  export const IMultiChatPanel: Token<IMultiChatPanel>;

  /** The chat's settings; empty until they are loaded and their folder is made. */
  export interface IWidgetConfig {
    readonly config: { readonly defaultDirectory?: string };
    readonly configChanged: ISignal<IWidgetConfig, unknown>;
  }

  export const IWidgetConfig: Token<IWidgetConfig>;
}
