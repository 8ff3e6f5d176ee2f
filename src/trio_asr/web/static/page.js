// The live page: shows what the worker says once a second, and says so when it no longer does.

import { CallList, CallPanel, byId, tone, write } from "./calls.js";
import { Chart } from "./charts.js";
import { FleetTable } from "./fleet.js";
import { Stream } from "./stream.js";

const TOKEN = "trio-asr-token";
const ROLES = { active: "ok", standby: "busy", starting: "warn", draining: "warn", stopping: "warn" };
const SAMPLES = 120, STEP_S = 5;

let picked = null;
let latest = null; // the last state that came
let link = { kind: "connecting" };

// -- the token: in this tab only ----------------------------------------------------------------------------

let token = null;
try { token = sessionStorage.getItem(TOKEN); } catch { /* a browser that keeps nothing: then this page does */ }

function remember(value) {
  token = value;
  try {
    if (value === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, value);
  } catch { /* see above */ }
}

// -- the parts ------------------------------------------------------------------------------------------------

const whole = value => String(value);
const charts = [
  new Chart(byId("chart-calls"), {
    lines: [{ name: "calls", of: ([calls]) => calls, area: true }], show: whole, capacity: SAMPLES, stepSeconds: STEP_S, least: 4,
  }),
  new Chart(byId("chart-delay"), {
    lines: [{ name: "audio to provider", of: ([, send]) => send }, { name: "result to Redis", of: ([, , commit]) => commit, second: true }],
    show: delay, capacity: SAMPLES, stepSeconds: STEP_S, logarithmic: [1, 10000], // usual are a few ms, a reconnect takes seconds
  }),
];
const list = new CallList(id => { location.hash = `call=${encodeURIComponent(id)}`; });
const panel = new CallPanel();
const fleet = new FleetTable();
const handlers = {
  state: drawState,
  history: samples => charts.forEach(chart => chart.update(samples)),
  calls: calls => list.update(calls),
  call: call => panel.update(call),
};
const stream = new Stream({ on: (event, data) => handlers[event]?.(data), status: drawLink, token: () => token });

// -- the state ------------------------------------------------------------------------------------------------

function drawState(state) {
  latest = state;
  write(byId("role"), state.role);
  tone(byId("role"), ROLES[state.role] ?? "idle");
  stat("calls", state.calls, describe(state.states));
  stat("connections", state.connections ?? "–", state.connections === null ? "the provider has none" : "open now");
  const away = Math.max(...["redis", "lease", "commits"].map(name => state.problems[name] ?? -1));
  stat("redis", away < 0 ? "OK" : "Trouble", away < 0 ? "reads and commits" : `for ${duration(away)}`, away < 0 ? "ok" : "bad");
  const trouble = state.problems.deepgram;
  const well = !state.refused && trouble === undefined;
  stat("provider", state.refused ? "Refuses" : well ? "OK" : "Trouble",
    well ? state.provider : `${state.provider}, for ${duration(trouble ?? 0)}`, well ? "ok" : "bad");
  stat("lag", state.calls ? `${state.lag_s.toFixed(1)} s` : "–", state.calls ? "received, not finalized" : "",
    state.lag_s > 30 ? "bad" : state.lag_s > 15 ? "warn" : "");
  stat("error", state.error?.kind ?? "None", state.error ? `${duration((state.at - state.error.at) / 1000)} ago` : "since the start");
  write(byId("totals"), `${count(state.frames)} frames in, ${count(state.chunks)} chunks out`);
  document.title = `${state.calls ? `${state.calls} · ` : ""}trio-asr`;
  fleet.update(state.fleet);
  drawGate();
  drawBanners();
}

function delay(ms) {
  if (ms >= 1000) return `${Number((ms / 1000).toFixed(1))} s`;
  return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
}

function stat(name, value, text, mood = "") {
  write(byId(name), String(value));
  byId(name).title = String(value);
  tone(byId(name), mood);
  write(byId(`${name}-note`), text);
}

function describe(states) {
  const entries = Object.entries(states).sort(([, a], [, b]) => b - a);
  return entries.map(([state, number]) => `${number} ${state}`).join(" · ") || "none in progress";
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  return whole < 172800 ? `${Math.floor(whole / 3600)} h` : `${Math.floor(whole / 86400)} days`;
}

const count = number => number.toLocaleString("en-US").replaceAll(",", "\u202f");

// -- the connection, and what is wrong ------------------------------------------------------------------------

function drawLink(status) {
  link = status;
  if (status.kind === "locked" && (status.wrong || status.barred)) {
    remember(null);
    write(byId("gate-problem"), status.wrong ? "That is not the token." : "Too many wrong tokens came from your address. Wait a minute.");
  }
  if (status.kind === "live" && token) write(byId("gate-problem"), "");
  drawGate();
  drawBanners();
  // Without the token, from this machine, the numbers still come.
  if (status.kind === "locked" && status.wrong) stream.restart();
}

function drawBanners() {
  const lost = link.kind === "lost";
  document.body.classList.toggle("stale", lost);
  tone(byId("link"), { live: "ok", lost: "bad", locked: "idle", refused: "bad" }[link.kind] ?? "idle");
  write(byId("link-text"), linkText());
  const banners = [];
  if (lost) banners.push(["bad", latest ? `No connection to the worker since ${new Date(latest.at).toLocaleTimeString()}` : "No connection to the worker", true]);
  if (link.kind === "refused") banners.push(["bad", "This worker shows nothing from here: it has no token set, and this is not its own machine"]);
  if (!lost && link.kind === "live" && latest) {
    for (const [name, seconds] of Object.entries(latest.problems)) banners.push(["bad", problem(name, seconds)]);
    if (latest.role === "standby" && !latest.fleet) banners.push(["busy", "Another worker has the calls. This one takes over when that one is gone."]);
  }
  const box = byId("banners");
  if (box.children.length !== banners.length || banners.some(([mood], index) => box.children[index].dataset.tone !== mood || (box.children[index].lastChild.tagName === "BUTTON") !== Boolean(banners[index][2]))) {
    box.replaceChildren(...banners.map(([mood, , retry]) => banner(mood, retry)));
  }
  banners.forEach(([, text], index) => write(box.children[index].firstChild, text));
}

function banner(mood, retry) {
  const made = document.createElement("div");
  made.className = "banner";
  tone(made, mood);
  made.append(document.createElement("span"));
  if (retry) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try now";
    button.addEventListener("click", () => stream.restart());
    made.append(button);
  }
  return made;
}

function problem(name, seconds) {
  const words = { redis: "Redis does not answer", lease: "The lease cannot be renewed", fleet: "The other members cannot be seen", commits: "Redis takes no commits", deepgram: "The provider takes no connections" };
  return `${words[name] ?? `Trouble: ${name}`}, for ${duration(seconds)}`;
}

function linkText() {
  switch (link.kind) {
    case "live": return `Live, ${new Date(latest.at).toLocaleTimeString()}`;
    case "lost": return `Lost, next try in ${Math.max(0, Math.ceil((link.retryAt - Date.now()) / 1000))} s`;
    case "locked": return "Locked";
    case "refused": return "Refused";
    default: return "Connecting";
  }
}

// -- who may see calls ----------------------------------------------------------------------------------------

function drawGate() {
  const shut = link.kind === "locked" || link.kind === "refused";
  const open = Boolean(token) && latest?.token === "given" && !shut;
  const none = latest?.token === "none";
  byId("main").hidden = !open;
  byId("lock").hidden = !open;
  byId("gate").hidden = open || link.kind === "refused" || (!shut && !latest) || (Boolean(token) && latest?.token !== "none");
  byId("gate-form").hidden = none;
  byId("stats").hidden = byId("charts").hidden = shut;
  if (shut) fleet.update(null);
  write(byId("gate-title"), none ? "Calls and transcripts are not shown" : "Calls and transcripts are shown with the token");
  write(byId("gate-text"), none ? "To see them here, set http.token_file in the worker's configuration and restart it." : "It is kept in this tab only, and forgotten when you close it.");
}

byId("gate-form").addEventListener("submit", event => {
  event.preventDefault();
  remember(byId("gate-token").value.trim());
  byId("gate-token").value = "";
  write(byId("gate-problem"), "");
  stream.restart();
});

byId("lock").addEventListener("click", () => {
  remember(null);
  latest = null;
  list.update({ calls: [], more: 0 });
  location.hash = "";
  stream.restart();
});

// -- which call is read along: in the fragment, which never leaves the browser -----------------------------------

function pickFromHash(restart) {
  let id = null;
  try { id = decodeURIComponent(location.hash.match(/^#call=(.+)$/)?.[1] ?? "") || null; } catch { /* not one of ours */ }
  if (id === picked && restart) return;
  stream.call = list.picked = picked = id;
  panel.show(id);
  list.draw();
  if (restart) stream.restart();
}

for (const name of ["close", "back"]) byId(name).addEventListener("click", () => { location.hash = ""; });
addEventListener("keydown", event => { if (event.key === "Escape" && picked !== null) location.hash = ""; });
addEventListener("hashchange", () => pickFromHash(true));
setInterval(() => { if (link.kind === "lost") drawBanners(); }, 500);
pickFromHash(false);
stream.restart();
