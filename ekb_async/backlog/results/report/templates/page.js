"use strict";
(function () {
  const valueOf = (text) => {
    const digits = text.replace(/,/g, "");
    return /^[-+]?\d+(\.\d+)?( \w{1,3})?$/.test(digits) ? parseFloat(digits) : null;
  };
  const compare = (a, b) => {
    const x = valueOf(a), y = valueOf(b);
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x === null ? -1 : 1;
    return a.localeCompare(b, document.documentElement.lang, { numeric: true });
  };
  const textAt = (body, column) => {
    const cell = body.rows[0].cells[column];
    return cell ? (cell.querySelector("bdi") || cell).textContent.trim() : "";
  };

  const sort = (table, column, direction) => {
    const bodies = [...table.tBodies];
    if (!table.original) table.original = bodies;
    const sorted = direction === "none" ? table.original : bodies
      .map((body) => [textAt(body, column), body])
      .sort((a, b) => compare(a[0], b[0]) * (direction === "descending" ? -1 : 1))
      .map((pair) => pair[1]);
    const foot = table.tFoot;
    sorted.forEach((body) => table.insertBefore(body, foot));
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      if (index === column && direction !== "none") head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    });
  };

  const addSorting = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        sort(table, column, now === first ? second : now === second ? "none" : first);
      });
    });
  };

  const addSearch = (table) => {
    const words = document.body.dataset;
    const box = document.createElement("div"), label = document.createElement("label");
    const input = document.createElement("input"), count = document.createElement("span");
    box.className = "search";
    input.type = "search";
    input.id = table.id + "-search";
    label.htmlFor = input.id;
    label.textContent = words.search;
    count.setAttribute("role", "status");
    const search = () => {
      const parts = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const body of table.tBodies) {
        const text = parts.length ? body.textContent.toLowerCase() : "";
        body.hidden = !parts.every((part) => text.includes(part));
        shown += body.hidden ? 0 : 1;
      }
      if (table.tFoot) table.tFoot.hidden = parts.length > 0;
      count.textContent = parts.length
        ? words.found.replace("{shown}", shown).replace("{count}", table.tBodies.length) : "";
    };
    input.addEventListener("input", search);
    box.append(label, input, count);
    table.parentElement.before(box);
  };

  const addTools = (root) => {
    for (const table of root.querySelectorAll("table")) {
      if (table.tBodies.length > 1) addSorting(table);
      if ("searched" in table.dataset && table.tBodies.length > 1) addSearch(table);
    }
  };

  const stateOf = (root) => ({
    sorted: [...root.querySelectorAll("th[aria-sort]")].map((head) =>
      [head.closest("table").id, head.cellIndex, head.getAttribute("aria-sort")]),
    searched: [...root.querySelectorAll(".search input")].map((input) => [input.id, input.value]),
    open: [...root.querySelectorAll("details[open]")].map((details) => details.id),
  });
  const restore = (state) => {
    for (const [id, column, direction] of state.sorted) {
      const table = document.getElementById(id);
      if (table && table.tHead.rows[0].cells[column]) sort(table, column, direction);
    }
    for (const [id, value] of state.searched) {
      const input = document.getElementById(id);
      if (input && value) {
        input.value = value;
        input.dispatchEvent(new Event("input"));
      }
    }
    for (const id of state.open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
  };

  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  addTools(document);
  window.reportPage = { addTools, stateOf, restore };
})();
