/**
 * The classes of risk of calls, as the server's agent/risk names them, in words.
 */

const EXPLAINED: Record<string, string> = {
  reads: 'It looks at variables and files, and changes nothing.',
  'edits the notebook': 'It changes cells of a notebook.',
  'writes names': 'It binds names in the kernel, or changes objects in place.',
  files: 'It writes, moves or deletes files.',
  network: 'It connects to another machine.',
  processes: 'It starts programs, or cannot be seen through.',
  installs: 'It installs packages.'
};

/** What a class means. */
export function explainClass(one: string): string {
  return EXPLAINED[one] ?? '';
}

/** "“files” and “network”". */
export function listClasses(classes: readonly string[]): string {
  const quoted = classes.map(one => `“${one}”`);
  const last = quoted.pop() ?? '';
  return quoted.length ? `${quoted.join(', ')} and ${last}` : last;
}
