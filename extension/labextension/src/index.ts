/**
 * The plugins that Caesarion adds to JupyterLab, one module each. All of them do
 * nothing where the chat is disabled.
 *
 * cells            draws calls, outputs, reasoning and weather (call.ts, approval_card.ts,
 *                  output.ts, fold_state.ts, reasoning.ts, weather_card.ts)
 * messageFooter    tokens and time below an answer, retry and edit (retry_edit.tsx)
 * contextDetails   what the agent was told with a question, opened below it
 * autoScroll       keeps the end of a growing answer in view
 * untrustedContent draws chats without loading anything (chat_rendermime.ts,
 *                  remote_content.ts)
 * approvalMode     the picker of who approves calls, below the input
 * context          what goes along with a message: notebook, cell, variables
 *                  (variables.ts, input_bar.ts)
 * uploads          files dropped, pasted or chosen (upload_queue.ts)
 * statusIndicator  whether server, model and kernel are ready
 * connection       a notice when the server is lost; the message waits
 * notebooks        saves a conversation as a notebook, and runs it again
 * suggestions      four questions in an empty chat (suggestionsTarget: the chat they go to)
 * firstVisit       opens a chat in a new workspace
 */

import { approvalMode } from './approval_mode';
import { autoScroll } from './auto_scroll';
import { cells } from './cells';
import { connection } from './connection';
import { context } from './context';
import { contextDetails } from './context_details';
import { firstVisit } from './first_visit';
import { messageFooter } from './message_footer';
import { notebooks } from './notebooks';
import { statusIndicator } from './status_indicator';
import { suggestions, suggestionsTarget } from './suggestions';
import { untrustedContent } from './untrusted_content';
import { uploads } from './uploads';

export default [
  approvalMode,
  autoScroll,
  cells,
  connection,
  context,
  contextDetails,
  firstVisit,
  messageFooter,
  notebooks,
  statusIndicator,
  suggestions,
  suggestionsTarget,
  untrustedContent,
  uploads
];
