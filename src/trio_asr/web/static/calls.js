// The list of calls, and the one that is read along. All text goes in as text, whatever it says.

const TONES = {
  streaming: "ok", connecting: "busy", reconnecting: "warn", waiting: "warn", held: "bad", quiet: "idle",
  closing: "idle", restarting: "bad", ended: "idle",
};
const WORDS = { waiting: "waiting for a place", held: "held back" };
const SLOW_S = 15, STUCK_S = 30; // a healthy connection may take the first of these for one final
const WINDOW_S = 20; // what the bar of the cursors shows, at least
const APART_S = 1; // of two people one may be so much further behind without lagging

export const byId = id => document.getElementById(id);

export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function tone(node, name) {
  if (name) node.dataset.tone = name;
  else delete node.dataset.tone;
}

export function clock(seconds, digits = 0) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map(part => String(part).padStart(2, "0"));
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  const rest = digits ? `.${Math.floor((seconds - whole) * 10 ** digits).toString().padStart(digits, "0")}` : "";
  return parts.join(":") + rest;
}

const lagTone = seconds => (seconds > STUCK_S ? "bad" : seconds > SLOW_S ? "warn" : "");
const oneWord = state => WORDS[state]?.split(" ")[0] ?? state;
const seconds = value => `${value.toFixed(1)} s`;
// Who is on one of several channels: what a line, an interim or a leg of a call says.
const nameOf = one => one.role ?? `channel ${one.channel}`;
const legText = leg => `final to ${clock(leg.finalized_s, 1)}, ${seconds(leg.lag_s)} behind`;

// What the audio is, where it is not plain linear16 (then the worker says so).
function formatOf({ encoding, sample_rate: rate, channels }) {
  return encoding ? `${encoding} ${rate / 1000} kHz${channels > 1 ? `, ${channels} channels` : ""}` : "";
}

function lagging({ legs = [] }) {
  const [most, ...others] = [...legs].sort((a, b) => b.lag_s - a.lag_s);
  return others.length && most.lag_s - others.at(-1).lag_s >= APART_S ? nameOf(most) : "";
}

export class CallList {
  constructor(pick) {
    Object.assign(this, { pick, rows: new Map(), calls: [], more: 0, key: null, down: false, picked: null });
    this.body = byId("rows");
    byId("find").addEventListener("input", () => this.draw());
    for (const button of document.querySelectorAll("th button")) {
      button.addEventListener("click", () => this.sort(button));
    }
  }

  sort(button) {
    const { key } = button.dataset;
    const text = ["id", "state", "last_error"].includes(key);
    this.down = this.key === key ? !this.down : !text; // numbers: the largest first
    this.key = key;
    for (const head of document.querySelectorAll("th")) head.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", this.down ? "descending" : "ascending");
    this.draw();
  }

  update({ calls, more }) {
    Object.assign(this, { calls, more });
    this.draw();
  }

  draw() {
    const wanted = byId("find").value.trim().toLowerCase();
    const matches = call => [call.id, call.tenant, call.state, call.trace_id ?? ""]
      .some(text => text.toLowerCase().includes(wanted));
    const shown = this.calls.filter(matches);
    if (this.key) {
      const sign = this.down ? -1 : 1;
      const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      shown.sort((a, b) => sign * compare(a[this.key], b[this.key]) || compare(a.id, b.id));
    }
    const present = new Set(shown.map(call => call.id));
    for (const [id, row] of this.rows) if (!present.has(id)) { row.remove(); this.rows.delete(id); }
    shown.forEach((call, index) => {
      const row = this.rows.get(call.id) ?? this.addRow(call.id);
      this.fill(row, call);
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
    });
    const total = this.calls.length + this.more;
    write(byId("count"), shown.length === total ? (total ? String(total) : "") : `${shown.length} of ${total}`);
    byId("table").hidden = shown.length === 0;
    byId("empty").hidden = shown.length > 0;
    write(byId("empty-title"), wanted ? "No call like that" : "No calls in progress");
    write(byId("empty-text"), wanted ? "Ids, tenants, states and trace ids are searched." : "A call appears here with its first audio.");
  }

  addRow(id) {
    const row = document.createElement("tr");
    row.tabIndex = 0;
    row.dataset.id = id;
    for (const kind of ["call", "state", "num", "num", "num wide", "num wide", "wide last"]) row.insertCell().className = kind;
    row.cells[0].append(document.createElement("span"), document.createElement("small"), document.createElement("small"));
    row.cells[3].append(document.createElement("span"), document.createElement("small"));
    const dot = document.createElement("i");
    dot.className = "dot";
    row.cells[1].append(dot, document.createElement("span"));
    row.addEventListener("click", () => this.pick(id));
    row.addEventListener("keydown", event => { if (event.key === "Enter") this.pick(id); });
    this.rows.set(id, row);
    return row;
  }

  fill(row, call) {
    const [name, state, audio, lag, chunks, connection, error] = row.cells;
    write(name.firstChild, call.id);
    write(name.children[1], call.tenant || "no tenant");
    write(name.lastChild, formatOf(call));
    name.title = call.id;
    write(state.lastChild, oneWord(call.state));
    state.title = WORDS[call.state] ?? call.state;
    tone(state, TONES[call.state] ?? "idle");
    write(audio, clock(call.received_s));
    write(lag.firstChild, seconds(call.lag_s));
    write(lag.lastChild, lagging(call));
    lag.title = (call.legs ?? []).map(leg => `${nameOf(leg)}: ${legText(leg)}`).join("\n");
    tone(lag, lagTone(call.lag_s));
    write(chunks, String(call.chunks));
    write(connection, call.connection ? String(call.connection) : "–");
    write(error, call.last_error || "–");
    error.title = call.last_error;
    row.setAttribute("aria-selected", String(call.id === this.picked));
  }
}

export class CallPanel {
  constructor() {
    this.lines = byId("lines");
    this.show(null);
  }

  show(id) {
    this.id = id;
    this.numbers = new Set();
    this.interims = [];
    this.lines.replaceChildren();
    byId("call").hidden = id === null;
    byId("nothing").hidden = id !== null;
    byId("silent").hidden = false;
    document.body.classList.toggle("reading", id !== null);
    write(byId("call-id"), id ?? "");
    byId("call-id").title = id ?? "";
    for (const name of ["call-state", "finalized", "sent", "received", "call-lag"]) write(byId(name), "");
    byId("legs").replaceChildren();
    byId("facts").replaceChildren();
  }

  // What the worker says of the call; null when it is none in progress (any more).
  update(call) {
    const chip = byId("call-state");
    if (call === null) {
      write(chip, this.numbers.size || byId("facts").children.length ? "ended" : "not in progress");
      tone(chip, "idle");
      this.drawInterims([]);
      return;
    }
    write(chip, WORDS[call.state] ?? call.state);
    tone(chip, TONES[call.state] ?? "idle");
    this.drawCursors(call);
    this.drawFacts(call);
    this.drawLines(call);
  }

  drawCursors(call) {
    const span = Math.max(WINDOW_S, call.lag_s * 1.25);
    const from = call.received_s - span;
    const part = at => Math.min(1, Math.max(0, (at - from) / span));
    byId("track-final").style.transform = `scaleX(${part(call.finalized_s)})`;
    byId("track-sent").style.transform = `scaleX(${part(call.sent_s)})`;
    write(byId("finalized"), clock(call.finalized_s, 1));
    write(byId("sent"), clock(call.sent_s, 1));
    write(byId("received"), clock(call.received_s, 1));
    write(byId("call-lag"), seconds(call.lag_s));
    tone(byId("call-lag"), lagTone(call.lag_s));
    const legs = fillList(byId("legs"), (call.legs ?? []).map(leg => [nameOf(leg), legText(leg)]));
    legs.forEach(([term, text], index) => {
      term.dataset.leg = index;
      tone(text, lagTone(call.legs[index].lag_s));
    });
  }

  drawFacts(call) {
    const began = call.since === null ? "" : new Date(call.since).toLocaleTimeString();
    const facts = [
      ["Tenant", call.tenant], ["Origin", call.origin], ["Since", began], ["Connection", call.connection ? String(call.connection) : "none yet"],
      ["Chunks", String(call.chunks)], ["Audio", formatOf(call)],
      ["Request id", call.request_id], ["Trace id", call.trace_id ?? ""], ["Last error", call.last_error],
    ].filter(([, value]) => value);
    fillList(byId("facts"), facts).forEach(([, text], index) => {
      const [name] = facts[index];
      text.className = name.endsWith("id") ? "mono" : "";
      tone(text, name === "Last error" ? "warn" : "");
    });
  }

  drawLines(call) {
    const box = byId("transcript");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    const last = Math.max(0, ...this.numbers);
    // A call that restarted counts its lines from 1 again.
    if (call.lines.length && call.lines.at(-1).number < last) { this.numbers.clear(); this.lines.replaceChildren(); }
    const fresh = call.lines.filter(line => !this.numbers.has(line.number));
    if (fresh.length) this.drawInterims([]);
    for (const line of fresh) {
      this.numbers.add(line.number);
      this.place(line);
    }
    this.drawInterims(call.interims ?? (call.interim ? [call.interim] : []));
    byId("silent").hidden = this.lines.children.length > 0;
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  // Lines lie in the order in which they ended. Of two people, one's may come after the other's later ones.
  place(line) {
    let next = null;
    for (let item = this.lines.lastChild; item && Number(item.dataset.end) > line.end_ms; item = item.previousSibling) next = item;
    this.lines.insertBefore(lineOf(line), next);
  }

  drawInterims(lines) {
    const present = lines.map(line => String(line.channel)).join();
    if (present !== this.interims.map(item => String(item.dataset.leg)).join()) {
      for (const item of this.interims) item.remove();
      this.interims = lines.map(lineOf);
      this.lines.append(...this.interims);
    }
    lines.forEach((line, index) => {
      write(this.interims[index].lastChild, line.text);
      write(this.interims[index].firstChild, clock(line.start_ms / 1000));
    });
  }
}

// Have a list consist of these terms and texts; return its elements in pairs.
function fillList(list, pairs) {
  if (list.children.length !== pairs.length) list.replaceChildren(...pairs.map(pair));
  return pairs.map(([name, value], index) => {
    const [term, text] = list.children[index].children;
    write(term, name);
    write(text, value);
    return [term, text];
  });
}

function pair() {
  const made = document.createElement("div");
  made.append(document.createElement("dt"), document.createElement("dd"));
  return made;
}

function lineOf(line) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  const text = document.createElement("span");
  item.className = line.type;
  item.dataset.end = line.end_ms;
  time.textContent = clock(line.start_ms / 1000);
  const long = seconds((line.end_ms - line.start_ms) / 1000);
  text.textContent = line.type === "gap" ? `${long} of audio given up (${line.text})` : line.text;
  item.append(time, ...whoOf(line), text);
  if (line.channel !== undefined) item.dataset.leg = line.channel;
  return item;
}

function whoOf(line) {
  if (line.channel === undefined) return [];
  const who = document.createElement("b");
  who.textContent = who.title = nameOf(line);
  return [who];
}
