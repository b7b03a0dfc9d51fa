"use strict";
// Updates the page, unless somebody is using it: fetches it again and replaces its content.
// Without JavaScript the page reloads itself.
(() => {
  const EVERY = 10000; // ms
  const main = document.querySelector("main");
  const part = (id) => document.getElementById(id);
  const busy = () =>
    document.hidden ||
    main.contains(document.activeElement) ||
    main.querySelector("details[open]") ||
    !document.getSelection().isCollapsed;
  const showPace = () => {
    part("paused").hidden = !busy();
    part("pace").hidden = !part("paused").hidden;
  };
  const showStale = () => {
    part("stale").hidden = false;
    part("state").className = "alert alert-secondary";
    part("state").textContent =
      "The gateway did not answer, so its state is unknown.";
  };
  const update = async () => {
    if (busy()) {
      return;
    }
    try {
      // JupyterHub 6 accepts its cookies from a script only with the page's own token.
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
      showStale();
    }
  };
  for (const event of ["selectionchange", "focusin", "focusout", "toggle", "visibilitychange"]) {
    // An element that loses the focus has it until after the event.
    document.addEventListener(event, () => setTimeout(showPace), true);
  }
  setInterval(update, EVERY);
})();
