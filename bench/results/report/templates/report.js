"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // ------------------------------------------------------------------ parts of the page
  const views = all(".view");
  const filters = byId("filters");
  const FILTERED = ["results", "diagnostics"];

  function show(id, scroll) {
    const target = id && byId(id);
    const view = (target && target.closest(".view")) || views[0];
    for (const each of views) each.hidden = each !== view;
    for (const link of all("nav a")) {
      if (link.hash === "#" + view.id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    filters.hidden = !FILTERED.includes(view.id);
    if (!scroll) return;
    if (target && target !== view) target.scrollIntoView();
    else requestAnimationFrame(() => window.scrollTo(0, 0)); // after the browser has gone to the part itself
  }
  function named() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return ""; // a link that was cut off or mistyped: the page begins at its first part
    }
  }
  window.addEventListener("hashchange", () => {
    if (named() !== "main") show(named(), true);
  });
  show(named(), Boolean(location.hash));

  // ------------------------------------------------------------------ light and dark
  const theme = byId("theme");
  const root = document.documentElement;
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => (theme.textContent = isDark() ? "Light" : "Dark");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  // ------------------------------------------------------------------ sorting
  function value(row, column) {
    const cell = row.children[column];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const text = cell.textContent.trim();
    return text === "–" ? null : text;
  }
  function order(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }
  for (const table of all("article.table table")) {
    const body = table.tBodies[0];
    const before = [...body.rows];
    for (const button of all("th button", table)) {
      const head = button.closest("th");
      button.addEventListener("click", () => {
        const column = Number(button.dataset.column);
        const numbers = before.some((row) => typeof value(row, column) === "number");
        const turns = numbers ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
        const next = turns[(turns.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
        for (const each of all("th[aria-sort]", table)) each.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", next);
        const rows = [...before];
        if (next !== "none") {
          const sign = next === "ascending" ? 1 : -1;
          rows.sort((first, second) => {
            const [a, b] = [value(first, column), value(second, column)];
            if (a === null || b === null) return (a === null) - (b === null); // what has no value stands last
            return sign * order(a, b);
          });
        }
        body.append(...rows);
      });
    }
  }

  // ------------------------------------------------------------------ filters
  const controls = all("[data-filter]", filters);
  function filter() {
    const wanted = Object.fromEntries(controls.map((each) => [each.dataset.filter, each.value.trim().toLowerCase()]));
    const is = (have, want) => !want || String(have ?? "").toLowerCase() === want;
    let [shown, whole] = [0, 0];
    for (const article of all("article.table")) {
      if (!FILTERED.includes(article.closest(".view").id)) continue;
      const ofTable = is(article.dataset.arch, wanted.arch) && is(article.dataset.profile, wanted.profile);
      const rows = [...article.querySelector("tbody").rows];
      const byCell = wanted.dataset || wanted.protocol;
      const fits = (cell) => is(cell.dataset.dataset, wanted.dataset) && is(cell.dataset.protocol, wanted.protocol);
      const columns = new Set(); // that hold a value which fits
      for (const row of rows) {
        [...row.children].forEach((cell, place) => {
          if (!byCell || (cell.dataset.sort !== undefined && fits(cell))) columns.add(place);
        });
      }
      let left = 0;
      for (const row of rows) {
        const cells = [...row.children];
        // A published value has neither data set nor protocol; it stays beside the measured values of its column.
        const some =
          !byCell ||
          cells.some((cell, place) => {
            if (cell.dataset.sort === undefined) return false;
            return fits(cell) || (row.classList.contains("published") && columns.has(place));
          });
        const said = !wanted.text || row.textContent.toLowerCase().includes(wanted.text);
        row.hidden = !(ofTable && some && said);
        left += !row.hidden;
        cells.forEach((cell, place) => {
          if (cell.classList.contains("value")) cell.hidden = Boolean(byCell) && !columns.has(place);
        });
      }
      hideHeads(article, byCell ? columns : null);
      article.hidden = left === 0;
      shown += left;
      whole += rows.length;
    }
    byId("shown").textContent = shown ? `${shown} of ${whole} rows` : "No row fits.";
  }
  /** Hide the heads of columns without a value that fits, and narrow those that stand above several. */
  function hideHeads(article, columns) {
    const [above, below] = article.querySelectorAll("thead tr");
    const heads = all("th", below);
    heads.forEach((head) => {
      head.hidden = columns !== null && !columns.has(Number(head.firstElementChild.dataset.column));
    });
    let place = 0;
    for (const group of all("th[scope=colgroup]", above)) {
      group.dataset.whole ??= group.colSpan;
      const own = heads.slice(place, (place += Number(group.dataset.whole)));
      const left = own.filter((head) => !head.hidden).length;
      group.hidden = left === 0;
      group.colSpan = Math.max(left, 1);
    }
  }
  for (const each of controls) each.addEventListener("input", filter);
  byId("reset").addEventListener("click", () => {
    for (const each of controls) each.value = "";
    filter();
  });
  filter();

  // ------------------------------------------------------------------ what stands behind a cell
  const dialog = byId("behind");
  const body = byId("behind-body");
  const copyOf = (id) => {
    const template = byId(id);
    return template ? template.content.cloneNode(true) : null;
  };
  /** A record inside of the dialog, which is filled when it is opened first. */
  function fold(place, open) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = place.dataset.seeds;
    details.append(summary);
    const fill = () => {
      if (details.childElementCount > 1) return;
      const content = copyOf("r-" + place.dataset.record);
      if (content === null) {
        const words = document.createElement("p");
        words.textContent = "What stands behind this record is left out of this page.";
        details.append(words);
        return;
      }
      details.append(content);
      for (const settings of all("[data-settings]", details)) {
        const values = copyOf("s-" + settings.dataset.settings);
        if (values) settings.append(values);
      }
      for (const text of all("[data-text]", details)) {
        text.addEventListener("toggle", () => {
          const shown = text.querySelector("pre");
          if (text.open && !shown.textContent) shown.textContent = JSON.parse(byId(text.dataset.text).textContent);
        });
      }
    };
    details.addEventListener("toggle", () => details.open && fill());
    if (open) {
      fill();
      details.open = true;
    }
    place.replaceWith(details);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-opens]");
    if (!button) return;
    byId("behind-title").textContent = byId(button.dataset.opens).dataset.title;
    body.replaceChildren(copyOf(button.dataset.opens));
    const records = all("[data-record]", body);
    records.forEach((place) => fold(place, records.length === 1));
    dialog.showModal();
    byId("behind-title").focus();
    dialog.scrollTop = 0;
  });
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside its content
  dialog.addEventListener("close", () => body.replaceChildren()); // the browser gives the focus back to the number
})();
