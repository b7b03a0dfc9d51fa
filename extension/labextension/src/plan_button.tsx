/**
 * The button below a plan, which lets the agent go ahead with it. Drawn by message_footer.tsx
 * below the last answer of a chat, if it is a plan.
 */

import type { IChatModel, IMessage } from '@jupyter/chat';
import * as React from 'react';

import { carryOut, modeOfPlan, MODE_NAMES, type Mode } from './approval_mode';

/** Whether `message` is a plan that nothing has followed yet. */
export function isOpenPlan(model: IChatModel, message: IMessage): boolean {
  const ours = message.metadata?.caesarion as { plan?: boolean } | undefined;
  const last = model.messages.filter(one => !one.deleted).pop();
  return ours?.plan === true && last?.id === message.id;
}

export function PlanButton({ model }: { model: IChatModel }): JSX.Element {
  const [mode, setMode] = React.useState<Mode | null | undefined>(undefined);
  const [sent, setSent] = React.useState(false);
  React.useEffect(() => {
    const follow = (): void => void modeOfPlan().then(setMode);
    follow();
    model.input.metadataChanged.connect(follow);
    return () => {
      model.input.metadataChanged.disconnect(follow);
    };
  }, [model]);
  if (mode === undefined) {
    return <></>;
  }
  if (mode === null) {
    return (
      <div className="jp-Caesarion-plan">
        Whoever runs this server allows no mode in which the plan could be carried out.
      </div>
    );
  }
  return (
    <div className="jp-Caesarion-plan">
      <button
        type="button"
        disabled={sent}
        title={`Let the agent carry out the plan, in the mode "${MODE_NAMES[mode]}".`}
        onClick={event => {
          if (event.nativeEvent.isTrusted) {
            setSent(true);
            carryOut(model, mode);
          }
        }}
      >
        Go
      </button>
      <span>in the mode “{MODE_NAMES[mode]}”</span>
    </div>
  );
}
