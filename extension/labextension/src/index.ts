/**
 * The plugins that Caesarion adds to JupyterLab, one module each. All of them do
 * nothing where the chat is disabled.
 *
 * cells            draws calls, outputs, reasoning and weather (call.ts, approval_card.ts,
 *                  question_card.ts, output.ts, fold_state.ts, reasoning.ts, weather_card.ts)
 * messageFooter    tokens and time below an answer, undo (undo.tsx), retry and edit (retry_edit.tsx)
 * contextDetails   what the agent was told with a question, opened below it
 * autoScroll       keeps the end of a growing answer in view
 * untrustedContent draws chats without loading anything (chat_rendermime.ts,
 *                  remote_content.ts)
 * approvalMode     the picker of who approves calls, below the input (plan_button.tsx: Go)
 * allowedClasses   the classes of calls that do not wait in a chat (risk_classes.ts)
 * context          what goes along with a message: notebook, cell, variables
 *                  (context_chips.tsx, variables.ts, input_bar.ts)
 * errorActions     Fix, Explain and Ask above an error, in menu and palette (open_chat.ts)
 * uploads          files dropped, pasted or chosen (upload_queue.ts, upload_limits.ts,
 *                  upload_rows.tsx)
 * statusIndicator  whether server, model and kernel are ready
 * changes          draws the agent's changes in notebooks (notebook_changes.ts, change_view.ts,
 *                  cell_diff.ts), with a bar (change_bar.tsx) and commands
 * connection       a notice when the server is lost; the message waits
 * notebooks        saves a conversation as a notebook, and runs it again
 * openNotebooks    lets the agent work in the notebooks that are open (page_channel.ts,
 *                  notebook_model.ts, notebook_sync.ts)
 * personas         asks for whom a chat can be sent to, until the server has said it
 * runs             runs that outlive their page (run_client.ts, run_list.ts): a panel
 *                  (runs_panel.tsx, run_output.tsx), a command, notifications
 * suggestions      four questions in an empty chat (suggestionsTarget: the chat they go to)
 * firstVisit       opens a chat in a new workspace
 * chatList         lists the chats of the side panel less often
 *
 * chat_theme.tsx, hidden_widgets.ts, setting_defaults.ts, shortcut_loads.ts and toolbar_focus.ts
 * make pages load quicker; they are no plugins, since they must come before all.
 */

import { allowedClasses } from './allowed_classes';
import { approvalMode } from './approval_mode';
import { autoScroll } from './auto_scroll';
import { cells } from './cells';
import { changes } from './changes';
import { chatList } from './chat_list';
import { drawChatsOnce } from './chat_theme';
import { connection } from './connection';
import { context } from './context';
import { contextDetails } from './context_details';
import { errorActions } from './error_actions';
import { firstVisit } from './first_visit';
import { drawWhenShown } from './hidden_widgets';
import { messageFooter } from './message_footer';
import { notebooks } from './notebooks';
import { openNotebooks } from './open_notebooks';
import { personas } from './personas';
import { runs } from './runs';
import { skipUnsetSettings } from './setting_defaults';
import { loadShortcutsTogether } from './shortcut_loads';
import { statusIndicator } from './status_indicator';
import { suggestions, suggestionsTarget } from './suggestions';
import { lookOnceInAFrame } from './toolbar_focus';
import { untrustedContent } from './untrusted_content';
import { uploads } from './uploads';

skipUnsetSettings();
loadShortcutsTogether();
lookOnceInAFrame();
drawChatsOnce();
drawWhenShown();

export default [
  allowedClasses,
  approvalMode,
  autoScroll,
  cells,
  changes,
  chatList,
  connection,
  context,
  contextDetails,
  errorActions,
  firstVisit,
  messageFooter,
  notebooks,
  openNotebooks,
  personas,
  runs,
  statusIndicator,
  suggestions,
  suggestionsTarget,
  untrustedContent,
  uploads
];
