// The connection to the worker: server-sent events over fetch, since EventSource cannot send the token.
// It comes back by itself, whatever ends it, and says what it is doing.

const SILENCE_MS = 5000; // the worker speaks once a second
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const CROWDED_MS = 10000;

export class Stream {
  // `on(event, data)` gets what the worker says, `status({kind, ...})` what became of the connection:
  // "live", "lost" (with `retryAt`), "locked" (no token, or `wrong`, or `barred`), "refused" (not from here).
  constructor({ on, status, token }) {
    Object.assign(this, { on, status, token, call: null, failures: 0, timer: null, stop: null, heard: 0 });
    setInterval(() => this.checkSilence(), 1000);
    addEventListener("online", () => this.wake());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.wake(); });
  }

  // Begin anew: after a change of call or token, or because somebody does not want to wait.
  restart() {
    clearTimeout(this.timer);
    this.timer = null;
    this.stop?.abort();
    this.run(this.stop = new AbortController());
  }

  wake() {
    if (this.timer !== null) this.restart();
  }

  checkSilence() {
    if (this.heard && Date.now() - this.heard > SILENCE_MS) this.stop?.abort(new Error("silence"));
  }

  async run(control) {
    let wait = null;
    try {
      wait = await this.listen(control.signal);
    } catch {
      // Refused, broken, silent: all the same to who looks on.
    }
    this.heard = 0;
    if (control !== this.stop || wait === Infinity) return; // another has begun, or there is no sense in it
    wait ??= BACKOFF_MS[Math.min(this.failures++, BACKOFF_MS.length - 1)];
    this.status({ kind: "lost", retryAt: Date.now() + wait });
    this.timer = setTimeout(() => this.restart(), wait);
  }

  // Listen until the stream ends; return how long to wait (null: as usual, Infinity: until told).
  async listen(signal) {
    const token = this.token();
    const response = await fetch(this.call === null ? "/events" : `/events?call=${encodeURIComponent(this.call)}`, {
      signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
      headers: token ? { Authorization: `Bearer ${token}` } : {},
    });
    if (response.status === 401 || response.status === 429) {
      this.status({ kind: "locked", wrong: response.status === 401 && Boolean(token), barred: response.status === 429 });
      return Infinity;
    }
    if (response.status === 403) {
      this.status({ kind: "refused" });
      return Infinity;
    }
    if (response.status === 503) return CROWDED_MS;
    if (!response.ok) return null;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    this.heard = Date.now();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return null;
      this.heard = Date.now();
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      if (signal.aborted) return null;
      for (const message of messages) this.take(message);
      if (messages.length) {
        this.failures = 0;
        this.status({ kind: "live" });
      }
    }
  }

  take(message) {
    const [event, data] = message.split("\ndata: ");
    this.on(event.slice("event: ".length), JSON.parse(data));
  }
}
