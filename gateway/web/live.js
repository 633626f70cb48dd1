// The gateway's WebSocket: shows the key, subscribes, and comes back after every loss.
//
// Each subscription begins with a snapshot, so coming back is catching up. Answers come in the
// order of the questions: `asked` keeps them.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const PING_MS = 15_000;
const SILENCE_MS = 25_000;
const KEY_REPLACED = 1008;

export class Live {
  // `tell` has: message(m), state(s), keyAccepted(), keyRefused(why), problem(sentence, about).
  constructor(url, session, tell) {
    this.url = url;
    this.session = session;
    this.tell = tell;
    this.state = 'connecting';
    this.retryAt = null;
    this.failures = 0;
    this.channels = new Map();
    this.asked = [];
    this.isAuthenticated = false;
    addEventListener('online', () => this.retryNow());
    setInterval(() => this.watchSilence(), PING_MS);
  }

  connect() {
    clearTimeout(this.waiting);
    this.setState('connecting');
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.heardAt = performance.now();
    // Of a connection that was given up nothing is wanted any more.
    const ifCurrent = (act) => (event) => socket === this.socket && act(event);
    socket.onopen = ifCurrent(() => this.opened());
    socket.onmessage = ifCurrent((event) => this.heard(event.data));
    socket.onclose = ifCurrent((event) => this.lost(event.code));
  }

  // Try at once instead of waiting longer.
  retryNow() {
    if (this.state === 'waiting') this.connect();
  }

  authenticate() {
    if (this.state !== 'open' || this.session.key === null) return;
    this.ask({ type: 'auth', apiKey: this.session.key }, null);
  }

  subscribe(channel) {
    this.channels.set(nameOf(channel), channel);
    this.askFor(channel);
  }

  unsubscribe(channel) {
    this.channels.delete(nameOf(channel));
    if (this.isAuthenticated) this.send({ type: 'unsubscribe', ...channel });
  }

  opened() {
    this.failures = 0;
    this.asked = [];
    this.setState('open');
    this.authenticate();
  }

  heard(data) {
    this.heardAt = performance.now();
    const message = JSON.parse(data);
    if (message.type === 'authenticated') this.accepted();
    else if (message.type === 'error') this.refused(message);
    else if (message.type !== 'pong') this.pass(message);
  }

  pass(message) {
    if (message.type === 'snapshot') this.asked.shift();
    this.tell.message(message);
  }

  accepted() {
    this.asked.shift();
    this.isAuthenticated = true;
    this.tell.keyAccepted();
    for (const channel of this.channels.values()) this.askFor(channel);
  }

  refused({ error, retryAfter }) {
    const question = this.asked.shift();
    if (question === undefined) return;
    const { channel } = question;
    if (retryAfter !== undefined) {
      this.tell.problem(`${error}: next attempt in ${retryAfter} s`, channel);
      const socket = this.socket;
      setTimeout(() => socket === this.socket && this.askAgain(channel), retryAfter * 1000);
    } else if (channel === null) {
      this.isAuthenticated = false;
      this.tell.keyRefused(error);
    } else {
      this.channels.delete(nameOf(channel));
      this.tell.problem(error, channel);
    }
  }

  askAgain(channel) {
    if (channel === null) this.authenticate();
    else if (this.channels.has(nameOf(channel))) this.askFor(channel);
  }

  askFor(channel) {
    if (this.isAuthenticated) this.ask({ type: 'subscribe', ...channel }, channel);
  }

  ask(message, channel) {
    this.asked.push({ channel });
    this.send(message);
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  lost(code) {
    this.socket = null;
    this.isAuthenticated = false;
    if (code === KEY_REPLACED) this.tell.keyRefused('The API key was replaced');
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures);
    this.failures += 1;
    // Not all tabs at the same moment.
    const wait = longest * (0.5 + Math.random() / 2);
    this.retryAt = Date.now() + wait;
    this.waiting = setTimeout(() => this.connect(), wait);
    this.setState('waiting');
  }

  // A connection may be dead without a word of it: a cable, a laptop that slept.
  watchSilence() {
    if (this.socket === null) return;
    if (performance.now() - this.heardAt < SILENCE_MS) {
      this.send({ type: 'ping' });
      return;
    }
    this.socket.close();
    this.lost(0);
  }

  setState(state) {
    this.state = state;
    this.tell.state(state);
  }
}

function nameOf(channel) {
  return channel.jobId ?? channel.channel;
}
