// The list of calls, and the one that is read along. All text goes in as text, whatever it says.

const TONES = {
  streaming: "ok", connecting: "busy", reconnecting: "warn", waiting: "warn", held: "bad", quiet: "idle",
  closing: "idle", restarting: "bad", ended: "idle",
};
const WORDS = { waiting: "waiting for a place", held: "held back" };
const SLOW_S = 15, STUCK_S = 30; // a healthy connection may take the first of these for one final
const WINDOW_S = 20; // what the bar of the cursors shows, at least

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
    row.cells[0].append(document.createElement("span"), document.createElement("small"));
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
    write(name.lastChild, call.tenant || "no tenant");
    name.title = call.id;
    write(state.lastChild, oneWord(call.state));
    state.title = WORDS[call.state] ?? call.state;
    tone(state, TONES[call.state] ?? "idle");
    write(audio, clock(call.received_s));
    write(lag, `${call.lag_s.toFixed(1)} s`);
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
    this.interim = null;
    this.lines.replaceChildren();
    byId("call").hidden = id === null;
    byId("nothing").hidden = id !== null;
    byId("silent").hidden = false;
    document.body.classList.toggle("reading", id !== null);
    write(byId("call-id"), id ?? "");
    byId("call-id").title = id ?? "";
    for (const name of ["call-state", "finalized", "sent", "received", "call-lag"]) write(byId(name), "");
    byId("facts").replaceChildren();
  }

  // What the worker says of the call; null when it is none in progress (any more).
  update(call) {
    const chip = byId("call-state");
    if (call === null) {
      write(chip, this.numbers.size || byId("facts").children.length ? "ended" : "not in progress");
      tone(chip, "idle");
      this.drawInterim(null);
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
    write(byId("call-lag"), `${call.lag_s.toFixed(1)} s`);
    tone(byId("call-lag"), lagTone(call.lag_s));
  }

  drawFacts(call) {
    const began = call.since === null ? "" : new Date(call.since).toLocaleTimeString();
    const facts = [
      ["Tenant", call.tenant], ["Since", began], ["Connection", call.connection ? String(call.connection) : "none yet"],
      ["Chunks", String(call.chunks)],
      ["Request id", call.request_id], ["Trace id", call.trace_id ?? ""], ["Last error", call.last_error],
    ].filter(([, value]) => value);
    const list = byId("facts");
    if (list.children.length !== facts.length) list.replaceChildren(...facts.map(pair));
    facts.forEach(([name, value], index) => {
      const [term, text] = list.children[index].children;
      write(term, name);
      write(text, value);
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
    for (const line of call.lines) {
      if (this.numbers.has(line.number)) continue;
      this.numbers.add(line.number);
      this.interim?.remove();
      this.interim = null;
      this.lines.append(lineOf(line));
    }
    this.drawInterim(call.interim);
    byId("silent").hidden = this.lines.children.length > 0;
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  drawInterim(line) {
    if (line && this.interim) {
      write(this.interim.lastChild, line.text);
      write(this.interim.firstChild, clock(line.start_ms / 1000));
    } else {
      this.interim?.remove();
      this.interim = line ? lineOf(line) : null;
      if (this.interim) this.lines.append(this.interim);
    }
  }
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
  time.textContent = clock(line.start_ms / 1000);
  const seconds = ((line.end_ms - line.start_ms) / 1000).toFixed(1);
  text.textContent = line.type === "gap" ? `${seconds} s of audio given up (${line.text})` : line.text;
  item.append(time, text);
  return item;
}
