/**
 * Live variables by name: `@` in the chat's input lists those of the kernel in
 * which the agent's code would run. Used by context.tsx, which stamps the message
 * with the names that are in it; the server looks at their values.
 */

import type {
  ChatCommand,
  IChatCommandProvider,
  IInputModel
} from '@jupyter/chat';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** How `GET caesarion/api/variables` is told which kernel. */
export type Where = { kernel_id: string } | { chat_id: string };

interface IVariable {
  name: string;
  type: string;
  shape: string;
}

/** What is known of a kernel's variables; `refusal` says why there are none to see. */
interface IKnown {
  variables: IVariable[];
  refusal: string;
}

/** Milliseconds for which a list is taken to be true, so that typing asks once. */
const FRESH = 3000;

/** What stands for a variable in a message. */
const MENTION = /(?<![\w@.])@([\p{L}_][\p{L}\p{N}_]*)/gu;

const WORD = /^@(?<start>[\p{L}\p{N}_]*)$/u;

/** The menu's length; more is found by typing on. */
const MOST = 12;

async function ask(where: Where): Promise<IKnown> {
  const settings = ServerConnection.makeSettings();
  const url =
    URLExt.join(settings.baseUrl, 'caesarion/api/variables') +
    URLExt.objectToQueryString(where);
  try {
    // Else the lab puts the time into the query.
    const init: RequestInit = { cache: 'no-cache' };
    const answer = await ServerConnection.makeRequest(url, init, settings);
    const told = (await answer.json()) as IVariable[] | { message: string };
    return Array.isArray(told)
      ? { variables: told, refusal: '' }
      : { variables: [], refusal: told.message };
  } catch {
    return { variables: [], refusal: 'The server does not answer.' };
  }
}

/** The variables of all kernels that were asked for them. */
export class Variables {
  /** What the kernel has, as of a moment ago. */
  async of(where: Where): Promise<IKnown> {
    const key = JSON.stringify(where);
    const asked = this._asked.get(key);
    if (asked && Date.now() - asked.at < FRESH) {
      return asked.known;
    }
    const known = ask(where);
    this._asked.set(key, { at: Date.now(), known });
    const told = await known;
    // What was seen before a cell began to run is still good for telling names.
    if (!told.refusal) {
      this._names.set(key, new Set(told.variables.map(one => one.name)));
    }
    return told;
  }

  /** The names in `text` that the kernel is known to have, in their order. */
  in(text: string, where: Where): string[] {
    const known = this._names.get(JSON.stringify(where));
    return known ? mentions(text).filter(name => known.has(name)) : [];
  }

  private _asked = new Map<string, { at: number; known: Promise<IKnown> }>();
  private _names = new Map<string, Set<string>>();
}

/** Every name that stands behind an @ in `text`, once. */
export function mentions(text: string): string[] {
  return [...new Set([...text.matchAll(MENTION)].map(match => match[1]!))];
}

/** `text` with the @ before `name` taken away. */
export function unmentioned(text: string, name: string): string {
  return text.replace(MENTION, (all, found) => (found === name ? name : all));
}

/** Completes `@` in the input of the chats that `whereOf` knows. */
export class VariableCompletion implements IChatCommandProvider {
  readonly id = '@caesarion/labextension:variables';

  constructor(
    private _variables: Variables,
    private _whereOf: (input: IInputModel) => Where | null,
    readonly onSubmit: (input: IInputModel) => Promise<void>
  ) {}

  async listCommandCompletions(input: IInputModel): Promise<ChatCommand[]> {
    const word = input.currentWord ?? '';
    const start = WORD.exec(word)?.groups?.['start'];
    const where = this._whereOf(input);
    if (start === undefined || !where) {
      return [];
    }
    const { variables, refusal } = await this._variables.of(where);
    if (refusal) {
      return [{ name: word, providerId: this.id, description: refusal }];
    }
    const found = variables
      .filter(one => one.name.toLowerCase().startsWith(start.toLowerCase()))
      .reverse();
    if (found.length === 1 && found[0]!.name === start) {
      return []; // Nothing is left to complete; Enter is to send the message.
    }
    return found.slice(0, MOST).map(one => ({
        name: `@${one.name}`,
        providerId: this.id,
        description: [one.type, one.shape].filter(Boolean).join(', '),
        spaceOnAccept: true
    }));
  }
}
