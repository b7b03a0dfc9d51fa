/**
 * The question card: what the agent asks its person, with a button for each choice and a line
 * for other words; afterwards what was answered. Drawn by call.ts. The answer goes to the server,
 * which shows it in every tab.
 */

import type { IRenderMime } from '@jupyterlab/rendermime';
import { checkIcon } from '@jupyterlab/ui-components';
import { Panel, Widget } from '@lumino/widgets';

import { describeTime } from './approval_card';
import { onPress } from './by_person';
import { answerQuestion } from './decision';

/** A question, as the server tells of it. */
export interface IQuestion {
  /** In Markdown. */
  readonly text: string;
  readonly choices: readonly string[];
  /** What the answer is sent to, while the question waits. */
  readonly id?: string;
  readonly answer?: {
    readonly text: string;
    readonly is_choice: boolean;
    readonly by: string;
    /** UTC, ISO 8601. */
    readonly at: string;
  };
}

/** Words that are being written, by question. They outlive the card, which is drawn anew. */
const drafts = new Map<string, string>();

function element(name: string, text = ''): HTMLElement {
  const made = document.createElement('div');
  made.className = `caesarion-question-${name}`;
  made.textContent = text;
  return made;
}

/** A choice as it is drawn: what stands between backticks is code. */
function drawChoice(choice: string): (string | HTMLElement)[] {
  return choice.split(/`([^`]+)`/).map((part, place) => {
    if (place % 2 === 0) {
      return part;
    }
    const code = document.createElement('code');
    code.textContent = part;
    return code;
  });
}

/** Focus the first choice, unless the user's focus is elsewhere, in an input above all. */
function focusIfIdle(control: HTMLElement): void {
  requestAnimationFrame(() => {
    const at = document.activeElement;
    if (control.isConnected && (at === null || at === document.body)) {
      control.focus({ preventScroll: true });
    }
  });
}

/** The choices, and the line for other words, of a question that waits. */
function makeControls(id: string, question: IQuestion): HTMLElement {
  const node = element('controls');
  const choices = element('choices');
  const problem = element('problem');
  problem.setAttribute('role', 'alert');

  const answer = async (text: string): Promise<void> => {
    const controls = [...node.querySelectorAll<HTMLButtonElement | HTMLInputElement>('button, input')];
    controls.forEach(control => (control.disabled = true));
    problem.textContent = await answerQuestion(id, text);
    if (problem.textContent === '') {
      drafts.delete(id);
    } else {
      controls.forEach(control => (control.disabled = false));
      fit();
    }
  };
  const buttons = question.choices.map((choice, place) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.className = 'caesarion-question-choice';
    made.title = `Answer with the key ${place + 1}`;
    made.setAttribute('aria-keyshortcuts', String(place + 1));
    const key = document.createElement('kbd');
    key.textContent = String(place + 1);
    key.setAttribute('aria-hidden', 'true');
    const words = document.createElement('span');
    words.append(...drawChoice(choice));
    made.append(key, words);
    onPress(made, () => void answer(choice));
    return made;
  });
  choices.append(...buttons);

  const words = document.createElement('input');
  words.className = 'caesarion-question-words';
  words.placeholder = question.choices.length ? 'Or answer in your own words' : 'Your answer';
  words.setAttribute('aria-label', words.placeholder);
  words.maxLength = 4000;
  words.value = drafts.get(id) ?? '';
  const send = document.createElement('button');
  send.type = 'button';
  send.className = 'caesarion-question-send';
  send.textContent = 'Answer';
  onPress(send, () => void answer(words.value.trim()));
  const fit = (): void => {
    send.disabled = words.value.trim() === '';
  };
  words.addEventListener('input', () => {
    drafts.set(id, words.value);
    fit();
  });
  fit();
  const line = element('line');
  line.append(words, send);
  node.append(...(buttons.length ? [choices] : []), line, problem);

  node.addEventListener('keydown', event => {
    if (!event.isTrusted) {
      return;
    }
    if (event.target === words) {
      if (event.key === 'Enter' && !event.isComposing && !send.disabled) {
        event.preventDefault();
        void answer(words.value.trim());
      }
      return;
    }
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const place = plain && /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
    const chosen = question.choices[place];
    if (chosen !== undefined && !buttons[place]!.disabled) {
      event.preventDefault();
      void answer(chosen);
    }
  });
  focusIfIdle(buttons[0] ?? words);
  return node;
}

/** What was answered; the choices that were not taken stay to be read. */
function makeAnswer(question: IQuestion): HTMLElement {
  const node = element('answer');
  const { choices, answer } = question;
  const list = document.createElement('ul');
  const texts = answer && !answer.is_choice ? [...choices, answer.text] : choices;
  for (const text of texts) {
    const item = document.createElement('li');
    const isAnswer = text === answer?.text;
    item.className = isAnswer ? 'caesarion-question-taken' : 'caesarion-question-left';
    if (isAnswer) {
      checkIcon.element({ container: item, elementSize: 'small' });
    }
    const words = document.createElement('span');
    words.append(...(choices.includes(text) ? drawChoice(text) : [text]));
    item.append(words);
    if (isAnswer) {
      item.setAttribute('aria-label', `Answered: ${text}`);
    }
    list.append(item);
  }
  node.append(list);
  if (answer) {
    node.append(element('by', `answered by ${answer.by} ${describeTime(answer.at)}`));
  }
  return node;
}

/** Draw a question with `markdown`, the renderer of its text. */
export async function makeQuestionCard(
  question: IQuestion,
  markdown: IRenderMime.IRenderer,
  model: IRenderMime.IMimeModel
): Promise<Panel> {
  const panel = new Panel();
  panel.addClass('caesarion-question');
  panel.node.setAttribute('role', 'group');
  panel.node.setAttribute('aria-label', `The agent asks: ${question.text}`);
  await markdown.renderModel(model);
  markdown.addClass('caesarion-question-text');
  panel.addWidget(markdown);
  const node = question.id ? makeControls(question.id, question) : makeAnswer(question);
  panel.addWidget(new Widget({ node }));
  return panel;
}
