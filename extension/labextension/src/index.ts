/**
 * The plugins that Caesarion adds to JupyterLab, one module each. All of them do
 * nothing where the chat is disabled.
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
