// The console works without this module: it adds live updates, keys, and times in the viewer's zone.

const POLL = 5000;
const root = document.documentElement;
const utc = root.dataset.zone === "utc";
const plural = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/* Times: relative ones count on, absolute ones are in the chosen zone, and the title has both. */

function lasting(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const index = plural.findIndex(([size]) => seconds >= size);
  const [size, unit] = plural[index];
  const [smaller, below] = plural[index + 1];
  const rest = Math.floor((seconds % size) / smaller);
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${below}` : ""}`;
}

function absolute(date, zone) {
  const parts = new Intl.DateTimeFormat("en-CA", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZone: zone, timeZoneName: "short",
  }).formatToParts(date);
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second} ${part.timeZoneName}`;
}

const axes = {
  clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { weekday: "short", day: "2-digit" },
  date: { day: "2-digit", month: "short" },
};

function short(date, kind) {
  const style = { ...axes[kind], ...(utc && { timeZone: "UTC" }) };
  const part = Object.fromEntries(new Intl.DateTimeFormat("en-GB", style).formatToParts(date).map(({ type, value }) => [type, value]));
  if (kind === "clock") return `${part.hour}:${part.minute}`;
  return kind === "day" ? `${part.weekday} ${part.day}` : `${part.day} ${part.month}`;
}

function showTimes(within = document) {
  for (const element of within.querySelectorAll("time[data-time]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const inUtc = absolute(date, "UTC"), here = absolute(date);
    if (element.dataset.time === "relative") {
      const seconds = (date.getTime() - Date.now()) / 1000;
      element.textContent = seconds > 0.5 ? `in ${lasting(seconds)}` : `${lasting(-seconds)} ago`;
    } else if (element.dataset.time in axes) {
      element.textContent = short(date, element.dataset.time);
    } else {
      element.textContent = utc ? inUtc : here;
    }
    element.title = utc ? `${inUtc}\n${here}` : `${here}\n${inUtc}`;
  }
  for (const element of within.querySelectorAll("[data-unless]")) element.hidden = alike(element);
}

/* True where the clocks of the zone that is shown beside a time show the same as the viewer's. */
function alike(element) {
  const date = new Date(element.querySelector("time").dateTime), length = "2026-05-01 09:00:00".length;
  try {
    return absolute(date, element.dataset.unless).slice(0, length) === absolute(date, utc ? "UTC" : undefined).slice(0, length);
  } catch {
    return false; // The browser does not know the zone.
  }
}

/* Where the menu scrolls, on small screens, the current page is in view. */
document.querySelector("nav [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" });

/* Live updates: the page is read again when the server says that something has changed, and its regions replaced. */

const live = document.body.dataset.live; // Absent where the page is the answer to a form.
const state = document.getElementById("live-state");
const say = (word, paused) => {
  if (!state) return;
  state.hidden = !document.querySelector("main [data-region]"); // Of the others only the menu is updated.
  state.classList.toggle("paused", paused);
  state.querySelector(".word").textContent = word;
};

function busy() {
  const active = document.activeElement;
  const typing = active && active.closest("form, dialog") && active.matches("input:not([type=checkbox]), textarea, select");
  const opened = document.querySelector("[data-region] details.menu[open], dialog[open]");
  const chosen = document.querySelector("[data-region] input:checked");
  const marked = String(document.getSelection() ?? "").length > 0;
  return Boolean(typing || opened || chosen || marked);
}

let reading = false, missed = false, pressed = false;

async function refresh() {
  if (!live || document.hidden || !document.querySelector("[data-region]")) return;
  if (pressed) { missed = true; return; }
  if (busy()) { missed = true; say("Paused while you work", true); return; }
  if (reading) { missed = true; return; }
  reading = true; missed = false;
  try {
    // Where only the menu is updated, the page itself need not be read.
    const source = document.querySelector("main [data-region]") ? location.href : document.body.dataset.menu;
    const answer = await fetch(source, { headers: { accept: "text/html" }, cache: "no-store" });
    if (answer.redirected) { say("Signed out: load the page again", true); return; }
    if (!answer.ok) { say(`The server answers ${answer.status}`, true); return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (pressed || busy()) { missed = true; return; }
    for (const old of document.querySelectorAll("[data-region]")) {
      const fresh = page.getElementById(old.id);
      if (fresh && fresh.innerHTML !== old.dataset.source) replace(old, fresh);
    }
    say("Live", false);
  } catch {
    say("No connection", true);
  } finally {
    reading = false;
    // A change that was reported while the page was read may be the last one for long.
    if (missed && !busy()) refresh();
  }
}

function replace(old, fresh) {
  const scrolled = [...old.querySelectorAll(".table")].map((each) => each.scrollLeft);
  const open = new Set([...old.querySelectorAll("details[open][id]")].map((each) => each.id));
  const active = document.activeElement, focused = old.contains(active) ? identity(active) : null;
  const before = focused && alikes(old, focused).indexOf(active);
  const current = old.querySelector("tr.current a")?.getAttribute("href");
  const source = fresh.innerHTML;
  old.replaceChildren(...[...fresh.childNodes].map((each) => document.importNode(each, true)));
  old.dataset.source = source;
  old.querySelectorAll(".table").forEach((each, index) => { each.scrollLeft = scrolled[index] ?? 0; });
  old.querySelectorAll("details[id]").forEach((each) => { if (open.has(each.id)) each.open = true; });
  if (focused) alikes(old, focused)[before]?.focus({ preventScroll: true });
  if (current) old.querySelector(`tr a[href="${CSS.escape(current)}"]`)?.closest("tr").classList.add("current");
  showTimes(old);
}

/* What tells an element that has the focus from the others of its region, also where those have moved since: a button
   is that of what its form hides, or it would act on another job than the one that it was chosen for. */
function identity(element) {
  const form = element.closest("form") ?? element.closest("details")?.querySelector("form");
  const hidden = [...(form?.querySelectorAll("input[type=hidden]:not([name=token])") ?? [])].map((each) => each.value);
  const name = ["href", "value", "aria-label", "aria-labelledby"].map((each) => element.getAttribute(each)).find(Boolean);
  return JSON.stringify([element.tagName, form?.getAttribute("action"), hidden, name ?? element.textContent]);
}

function alikes(region, wanted) {
  const all = region.querySelectorAll("a, button, summary, input, select, textarea, [tabindex]");
  return [...all].filter((each) => identity(each) === wanted);
}

let stream = null, polling = 0;

function poll() {
  stream?.close();
  stream = null;
  polling ||= setInterval(refresh, POLL);
}

function connect() {
  if (!live || stream || polling || document.hidden) return;
  let opened = false, failures = 0;
  stream = new EventSource(live);
  stream.addEventListener("open", () => { opened = true; failures = 0; say("Live", false); });
  stream.addEventListener("change", refresh);
  stream.addEventListener("error", () => {
    failures += 1;
    // A proxy that cuts streams, or a server that takes no more of them: ask from time to time instead.
    if (!opened || failures > 2 || stream?.readyState === EventSource.CLOSED) poll();
  });
}

function rest() {
  stream?.close();
  stream = null;
  clearInterval(polling);
  polling = 0;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { rest(); return; }
  refresh();
  connect();
});
addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => { if (event.persisted) { refresh(); connect(); } });
for (const event of ["focusout", "toggle", "change"]) {
  document.addEventListener(event, () => { if (missed) setTimeout(refresh, 200); }, true);
}
/* What is pressed must be there when it is released, or it gets no click. A menu of the browser, or another window,
   keeps the release to itself. */
addEventListener("pointerdown", () => { pressed = true; }, true);
addEventListener("keydown", (event) => { if (event.key === " ") pressed = true; }, true);
for (const event of ["pointerup", "pointercancel", "keyup", "contextmenu", "blur"]) {
  addEventListener(event, (given) => {
    if (event === "blur" && given.target !== window) return; // Of an element.
    pressed = false;
    if (missed) setTimeout(refresh, 200);
  }, true);
}

/* Keys. */

const rows = () => [...document.querySelectorAll("table.rows tbody tr")];

function move(step) {
  const all = rows();
  if (!all.length) return;
  const place = all.findIndex((row) => row.classList.contains("current"));
  const next = all[Math.max(0, Math.min(all.length - 1, place + step))] ?? all[0];
  all.forEach((row) => row.classList.toggle("current", row === next));
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("a")?.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    document.querySelectorAll("details.menu[open]").forEach((each) => { each.open = false; });
    return;
  }
  if (event.target.closest?.("input, textarea, select, dialog[open]")) return;
  const current = document.querySelector("table.rows tr.current");
  const act = {
    "/": () => document.querySelector("[data-search]")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    x: () => current?.querySelector("input[type=checkbox]")?.click(),
    "?": () => document.getElementById("help")?.showModal(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", (event) => {
  document.querySelectorAll("details.menu[open]").forEach((each) => {
    if (!each.contains(event.target)) each.open = false;
  });
});

/* Charts: what is pointed at is said in the legend's place at once, in the chosen zone. */

document.addEventListener("pointerover", (event) => {
  const spot = event.target.closest?.(".spot");
  document.querySelectorAll(".readout").forEach((each) => { if (!spot || !spot.closest("figure").contains(each)) each.remove(); });
  document.querySelectorAll(".legend[hidden]").forEach((each) => { if (!spot || !spot.closest("figure").contains(each)) each.hidden = false; });
  if (!spot) return;
  const title = spot.querySelector("title");
  if (title) { spot.dataset.said = title.textContent.slice(title.textContent.indexOf(": ") + 2); title.remove(); }
  const figure = spot.closest("figure"), legend = figure.querySelector(".legend"), date = new Date(spot.dataset.at);
  let readout = figure.querySelector(".readout");
  if (!readout) {
    readout = document.createElement("p");
    readout.className = "readout";
    legend.before(readout);
    legend.hidden = true;
  }
  const labels = figure.querySelector(".ticks-x time").dataset.time;
  const time = labels === "date" ? short(date, "date") : `${labels === "day" ? `${short(date, "day")} ` : ""}${short(date, "clock")}`;
  readout.textContent = `${time}: ${spot.dataset.said}`;
});

/* Selection: one box for all rows of a table, and the number of those that are selected. */

function count(form) {
  const boxes = [...form.querySelectorAll("input[name=selected]")];
  const chosen = boxes.filter((box) => box.checked).length;
  form.querySelectorAll("[data-chosen]").forEach((each) => { each.textContent = String(chosen); });
  form.querySelector(".bar")?.classList.toggle("chosen", chosen > 0);
  const all = form.querySelector("input[data-all]");
  if (all) { all.checked = chosen > 0 && chosen === boxes.length; all.indeterminate = chosen > 0 && chosen < boxes.length; }
}

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-selection]");
  if (!form) return;
  if (event.target.matches("input[data-all]")) {
    form.querySelectorAll("input[name=selected]").forEach((box) => { box.checked = event.target.checked; });
  }
  count(form);
});

/* Copy the text of another element. */

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy)?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(document.getElementById(button.dataset.copy));
  }
});

document.querySelectorAll("button[data-copy]").forEach((each) => { each.hidden = false; });
for (const form of document.querySelectorAll("form[data-selection]")) count(form);
showTimes();
setInterval(showTimes, 1000);
connect();
