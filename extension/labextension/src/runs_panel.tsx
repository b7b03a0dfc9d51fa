/**
 * The panel "Runs": what waits for a person, what is running, what is done. Made by runs.tsx.
 */

import { ReactWidget, UseSignal } from '@jupyterlab/apputils';
import { historyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { describeTime, makeApprovalCard } from './approval_card';
import { hashOfText } from './decision';
import { showExactly } from './exact_code';
import type { IRequiredAction, IRun } from './run_client';
import { isActive, waits, type RunList } from './run_list';
import { RunOutput } from './run_output';

const KINDS: Record<IRun['kind'], string> = {
  chat: 'Question',
  execute: 'Code',
  notebook: 'Notebook'
};

const STATES: Record<IRun['status'], string> = {
  queued: 'waits for its kernel',
  in_progress: 'running',
  requires_action: 'waits for you',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'stopped',
  incomplete: 'incomplete'
};

/** "“Rain.ipynb” completed". */
export function describeRun(run: IRun): string {
  return `“${titleOf(run)}” ${STATES[run.status]}`;
}

export function titleOf(run: IRun): string {
  return run.title || KINDS[run.kind];
}

/** The sentence on how a run ended, if there is one. */
export function reasonOf(run: IRun): string {
  return run.error?.message ?? run.incomplete_details?.message ?? '';
}

/** Whether a run has a document of its own, to which one can go. */
export function hasDocument(run: IRun): boolean {
  return Boolean(run.chat_path) || run.kind === 'notebook';
}

/** The code of a call, else its arguments. */
function codeOf(call: IRequiredAction['call']): string | undefined {
  try {
    const { code } = JSON.parse(call.arguments ?? '') as { code?: unknown };
    return typeof code === 'string' ? code : undefined;
  } catch {
    return undefined;
  }
}

/** A call that waits, with the buttons that decide about it. */
function WaitingCode(props: {
  action: IRequiredAction;
  code: string;
  isOfSession: boolean;
}): JSX.Element {
  const { action, code, isOfSession } = props;
  const place = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const shown = document.createElement('div');
    shown.className = 'jp-Caesarion-runsCode';
    showExactly(shown, code);
    const waiting = {
      approval: action.approval_id!,
      hash: hashOfText(code),
      code,
      classes: isOfSession ? action.classes : undefined
    };
    place.current!.replaceChildren(shown, makeApprovalCard(waiting, shown));
  }, [action.approval_id, code]);
  return <div ref={place} />;
}

function Waiting({ run }: { run: IRun }): JSX.Element {
  const actions = run.chat_path ? [] : (run.required_action ?? []);
  return (
    <>
      {actions.map(action => {
        const code = codeOf(action.call);
        const { change } = action.call;
        if (!change && code !== undefined && action.approval_id) {
          const isOfSession = Boolean(run.session_id);
          return <WaitingCode key={action.call.id} {...{ action, code, isOfSession }} />;
        }
        return (
          <div key={action.call.id}>
            {change
              ? `A change of ${change.path} waits: open the notebook to decide.`
              : `The call ${action.call.name ?? ''} waits: stop the run, or decide by its API.`}
          </div>
        );
      })}
    </>
  );
}

function Item(props: { run: IRun; list: RunList; open: (run: IRun) => void }): JSX.Element {
  const { run, list, open } = props;
  const [shows, setShows] = React.useState(false);
  const [problem, setProblem] = React.useState('');
  const title = titleOf(run);
  const stop = (): void => {
    list.cancel(run).catch((error: unknown) => {
      setProblem(error instanceof Error ? error.message : String(error));
    });
  };
  const reason = reasonOf(run);
  const time = describeTime(run.ended_at ?? run.created_at);
  return (
    <li className="jp-Caesarion-runsItem" data-status={run.status}>
      <div className="jp-Caesarion-runsTitle" title={title}>
        {title}
      </div>
      <div className="jp-Caesarion-runsState">
        {KINDS[run.kind]} · <span className="jp-Caesarion-runsWord">{STATES[run.status]}</span> ·{' '}
        {time}
      </div>
      {reason && <div className="jp-Caesarion-runsReason">{reason}</div>}
      {waits(run) && <Waiting run={run} />}
      <div className="jp-Caesarion-runsButtons">
        {hasDocument(run) ? (
          <button type="button" aria-label={`Open ${title}`} onClick={() => open(run)}>
            Open
          </button>
        ) : (
          <button
            type="button"
            aria-expanded={shows}
            aria-label={`Show the output of ${title}`}
            onClick={() => setShows(!shows)}
          >
            {shows ? 'Hide output' : 'Show output'}
          </button>
        )}
        {isActive(run) && (
          <button type="button" aria-label={`Stop ${title}`} onClick={stop}>
            Stop
          </button>
        )}
      </div>
      {problem && <div role="alert">{problem}</div>}
      {shows && <RunOutput id={run.id} label={`Output of ${title}`} />}
    </li>
  );
}

function Sections(props: { list: RunList; open: (run: IRun) => void }): JSX.Element {
  const { list } = props;
  const groups: [string, IRun[]][] = [
    ['Waiting for you', list.all.filter(waits)],
    ['Running', list.all.filter(run => isActive(run) && !waits(run))],
    ['Done', list.all.filter(run => !isActive(run))]
  ];
  if (!list.all.length) {
    return (
      <p className="jp-Caesarion-runsEmpty">
        {list.problem ||
          'Nothing has run yet. Questions, code of programs and notebooks that run in the background are listed here.'}
      </p>
    );
  }
  const counts = groups.slice(0, 2).map(([name, { length }]) => `${name}: ${length}`);
  return (
    <>
      <div className="jp-Caesarion-announcer" role="status">
        {counts.join(', ')}
      </div>
      {groups
        .filter(([, runs]) => runs.length)
        .map(([name, runs]) => (
          <section key={name} aria-label={name}>
            <h2>
              {name} <span aria-hidden="true">({runs.length})</span>
            </h2>
            <ul>
              {runs.map(run => (
                <Item key={run.id} run={run} {...props} />
              ))}
            </ul>
          </section>
        ))}
    </>
  );
}

export class RunsPanel extends ReactWidget {
  constructor(
    private readonly _list: RunList,
    private readonly _open: (run: IRun) => void
  ) {
    super();
    this.id = 'caesarion-runs';
    this.addClass('jp-Caesarion-runs');
    this.title.icon = historyIcon;
    this.title.caption = 'Runs';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Runs');
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this._list.changed}>
        {() => <Sections list={this._list} open={this._open} />}
      </UseSignal>
    );
  }
}
