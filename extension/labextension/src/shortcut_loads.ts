/**
 * Keyboard shortcuts are registered anew once for all plugins that load in a row.
 *
 * JupyterLab 4.6 does it for each plugin that loads its settings after the shortcuts: eighteen
 * times while a page loads, all 130 of them. Called by index.ts.
 */

import { SettingRegistry, type ISettingRegistry } from '@jupyterlab/settingregistry';

const SHORTCUTS = '@jupyterlab/shortcuts-extension:shortcuts';

/** Milliseconds after which they are registered also by a page that is busy. */
const AT_LAST = 1_000;

/** Register shortcuts that plugins bring when the page has a moment. */
export function loadShortcutsTogether(): void {
  const { prototype } = SettingRegistry;
  const { load } = prototype;
  let next: Promise<ISettingRegistry.ISettings> | null = null;
  prototype.load = function (plugin, again = false) {
    if (plugin !== SHORTCUTS || !again) {
      return load.call(this, plugin, again);
    }
    next ??= new Promise(resolve => {
      requestIdleCallback(resolve, { timeout: AT_LAST });
    }).then(() => {
      next = null;
      return load.call(this, plugin, again);
    });
    return next;
  };
}
