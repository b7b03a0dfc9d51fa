"use strict";
// Keeps a page up to date, unless somebody is at work in it: reads the page again and
// puts what is new in the place of what was. Without JavaScript the page loads itself anew.
(() => {
  const EVERY = 10000; // ms
  const main = document.querySelector("main");
  const part = (id) => document.getElementById(id);
  const busy = () =>
    document.hidden ||
    main.contains(document.activeElement) ||
    main.querySelector("details[open]") ||
    !document.getSelection().isCollapsed;
  const say = () => {
    part("paused").hidden = !busy();
    part("pace").hidden = !part("paused").hidden;
  };
  const doubt = () => {
    part("stale").hidden = false;
    part("state").className = "alert alert-secondary";
    part("state").textContent =
      "Whether requests are answered is not known: the gateway did not answer.";
  };
  const renew = async () => {
    if (busy()) {
      return;
    }
    try {
      // JupyterHub's cookies are not believed from a script without the page's own token.
      const headers = { "X-XSRFToken": part("live").dataset.token };
      const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
      if (!answer.ok) {
        throw new Error(answer.status);
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!busy()) {
        main.replaceChildren(...page.querySelector("main").childNodes);
      }
    } catch (_) {
      doubt();
    }
  };
  for (const event of ["selectionchange", "focusin", "focusout", "toggle", "visibilitychange"]) {
    // Who loses the focus has it until afterwards.
    document.addEventListener(event, () => setTimeout(say), true);
  }
  setInterval(renew, EVERY);
})();
