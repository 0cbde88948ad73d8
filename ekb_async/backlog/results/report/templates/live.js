"use strict";
(function () {
  const words = document.body.dataset, seconds = Number(words.seconds);
  let version = null, lastAnswer = new Date();

  const focusOf = () => {
    const active = document.activeElement;
    if (!active || active === document.body) return null;
    if (active.id) {
      return { id: active.id, start: active.selectionStart, end: active.selectionEnd };
    }
    const head = active.closest("th"), table = active.closest("table");
    return head && table ? { table: table.id, column: head.cellIndex } : null;
  };
  const refocus = (focus) => {
    if (!focus) return;
    const table = focus.table && document.getElementById(focus.table);
    const target = focus.id ? document.getElementById(focus.id)
      : table && table.tHead.rows[0].cells[focus.column].querySelector("button");
    if (!target) return;
    target.focus({ preventScroll: true });
    if (focus.start !== undefined && focus.start !== null) target.setSelectionRange(focus.start, focus.end);
  };

  const show = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.querySelector("main"), now = document.querySelector("main");
    if (!fresh) return;
    const state = window.reportPage.stateOf(now), focus = focusOf();
    const across = [...now.querySelectorAll(".wide")].map((each) => each.scrollLeft);
    const top = window.scrollY;
    now.replaceWith(document.adoptNode(fresh));
    window.reportPage.addTools(document);
    window.reportPage.restore(state);
    [...document.querySelectorAll("main .wide")].forEach((each, index) => { each.scrollLeft = across[index] || 0; });
    window.scrollTo({ top, behavior: "instant" });
    refocus(focus);
    document.title = page.title;
  };
  const setAway = (isAway) => {
    const note = document.getElementById("away");
    if (!note) return;
    note.hidden = !isAway;
    note.textContent = isAway ? words.away.replace("{time}", lastAnswer.toLocaleTimeString(document.documentElement.lang)) : "";
  };

  const ask = async () => {
    try {
      const headers = version ? { "If-None-Match": version } : {};
      const answer = await fetch(location.pathname, { headers, cache: "no-store", credentials: "omit" });
      if (answer.status === 200) {
        version = answer.headers.get("ETag");
        show(await answer.text());
      } else if (answer.status !== 304) {
        throw new Error(String(answer.status));
      }
      lastAnswer = new Date();
      setAway(false);
    } catch (error) {
      setAway(true);
    }
    setTimeout(ask, seconds * 1000);
  };
  setTimeout(ask, seconds * 1000);
})();
