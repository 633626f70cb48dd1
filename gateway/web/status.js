// The state of everything the gateway rests on: a sign, and the words that it stands for.

import { el, setClass, setText } from './dom.js';
import { age, count, milliseconds, rate } from './format.js';

const SIGNS = { good: '●', busy: '◐', bad: '▲', unknown: '○' };
const FRESH_MS = 10_000;
const MONITORED = 'backend';

export class Status {
  constructor(list) {
    this.items = new Map();
    this.list = list;
  }

  // `seen`: {live, health, s3, throughput, now}; see the functions below for what they hold.
  draw(seen) {
    this.say('live', describeLive(seen));
    this.say('database', describeDatabase(seen));
    this.say('s3', describeS3(seen));
    this.say('backend', describeBackend(seen));
    this.say('index', describeIndex(seen));
  }

  say(name, said) {
    if (said === null) return;
    const item = this.items.get(name) ?? this.add(name);
    setClass(item, said.mood);
    setText(item.firstChild, SIGNS[said.mood]);
    setText(item.lastChild, said.words);
  }

  add(name) {
    const item = el('li', {}, el('span', { 'aria-hidden': true, class: 'sign' }), el('span'));
    this.items.set(name, item);
    this.list.append(item);
    return item;
  }
}

function describeLive({ live }) {
  if (live.state === 'open') return { mood: 'good', words: 'Live' };
  if (live.state === 'connecting' && live.failures === 0) return { mood: 'busy', words: 'Connecting' };
  return { mood: 'bad', words: 'Disconnected' };
}

// What was last heard of a gateway that cannot be reached is no state of now.
function isAway(live) {
  return live.state !== 'open' && live.failures > 0;
}

function describeDatabase({ health, live }) {
  const report = isAway(live) ? null : health.report;
  if (report?.database === 'connected') {
    if (report.status === 'healthy') return { mood: 'good', words: 'Database connected' };
    return { mood: 'busy', words: `Database connected, not ready: ${report.error}` };
  }
  if (report?.database) return { mood: 'bad', words: `Database away: ${report.error}` };
  return { mood: 'unknown', words: 'Database: not known' };
}

function describeS3({ s3, live }) {
  if (live.state !== 'open' || s3 === null) return { mood: 'unknown', words: 'S3: not known' };
  if (s3.isHealthy === null) return { mood: 'unknown', words: 'S3: not checked' };
  if (!s3.isHealthy) return { mood: 'bad', words: `S3 unhealthy: ${s3.error ?? 'no reason given'}` };
  return { mood: 'good', words: `S3 healthy · ${milliseconds(s3.averageLatency ?? s3.latency)}` };
}

function describeBackend({ health, throughput, live, now }) {
  if (live.state !== 'open') return { mood: 'unknown', words: 'Throughput: not known' };
  const isWatched = health.monitors?.has(MONITORED) ?? false;
  if (isWatched && !health.monitors.get(MONITORED)) return { mood: 'bad', words: 'Backend disconnected' };
  const who = isWatched ? 'Backend' : 'Throughput';
  const silence = describeSilence({ health, throughput, now });
  if (silence === null) return { mood: 'good', words: `${who} · ${rate(throughput.value)}` };
  // Our own worker says nothing while it rests; a backend that says nothing has a fault.
  const mood = isWatched ? 'bad' : 'good';
  return { mood: throughput === null ? 'unknown' : mood, words: `${who}: ${silence}` };
}

// Since when no sample has come, in words; null while they come.
export function describeSilence({ health, throughput, now }) {
  if (throughput === null) return 'no samples yet';
  const silence = now - throughput.time;
  if (silence < FRESH_MS) return null;
  const what = health.monitors?.has(MONITORED) ? 'no samples' : 'idle';
  return `${what} for ${age(silence / 1000)}`;
}

function describeIndex({ health, live }) {
  const index = health.report?.index;
  if (!index) return null;
  if (isAway(live)) return { mood: 'unknown', words: 'Index: not known' };
  if (index.status === 'building') return { mood: 'busy', words: `Index: first scan, ${count(index.entries)} so far` };
  if (index.status === 'refused') return { mood: 'bad', words: `Index: ${index.error}` };
  const since = age((health.serverNow - Date.parse(index.lastScan)) / 1000);
  return { mood: 'good', words: `Index: ${count(index.entries)} entries, ${since} old` };
}
