// The jobs as they are known, newest first; what changes is told once, by `changed`.

import { MIB } from './format.js';
import { Series } from './series.js';

const MOST = 1000;
const RATE_MS = 15_000;
const SHORT_ID = 8;
const LONGEST_SECONDS_LEFT = 365 * 86_400;
// The name of the key in API_GATEWAY_KEY.
const ONLY_KEY = 'default';
export const ACTIVE = new Set(['pending', 'running', 'paused']);

export const FILTERS = {
  all: { label: 'All', takes: () => true },
  active: { label: 'Active', takes: (job) => ACTIVE.has(job.status) },
  problems: { label: 'With failures', takes: (job) => job.status === 'failed' || job.failedFiles > 0 },
  completed: { label: 'Completed', takes: (job) => job.status === 'completed' },
  cancelled: { label: 'Cancelled', takes: (job) => job.status === 'cancelled' },
};

export class Jobs {
  // `changed(id, isNew)` is called for each job that has changed, with null for all of them.
  constructor(changed) {
    this.changed = changed;
    this.byId = new Map();
    // One older than those of the list, which somebody looks at.
    this.aside = new Map();
    this.total = null;
    this.isKnown = false;
  }

  get(id) {
    return this.byId.get(id) ?? this.aside.get(id);
  }

  get shown() {
    return this.byId.size;
  }

  // There may be older ones than these.
  get isFull() {
    return this.shown >= MOST;
  }

  // Whether the names of the submitters tell jobs apart.
  get hasNames() {
    return [...this.byId.values()].some(({ who }) => who !== null && who !== ONLY_KEY);
  }

  // How many jobs there are, listed or not.
  countAll(total) {
    this.total = total;
    this.changed(null, true);
  }

  beginningWith(text) {
    return text.length < SHORT_ID ? [] : [...this.byId.values()].filter(({ id }) => id.startsWith(text));
  }

  // A whole list, as a subscription begins with: what is not in it is no more.
  replace(list, now) {
    const before = (id) => this.get(id);
    this.byId = new Map(list.map((said) => [said.id, fromBrief(said, before(said.id), now)]));
    for (const id of this.byId.keys()) this.aside.delete(id);
    if (!this.isFull) this.total = this.shown;
    this.isKnown = true;
    this.changed(null, true);
  }

  // One job in full, as reading it or a subscription to it shows it.
  take(said, now) {
    const before = this.get(said.id);
    const job = fromFull(said, before, now);
    if (before === undefined && this.isOlder(job)) this.aside = new Map([[job.id, job]]);
    else this.put(job, before);
  }

  // An event of a job. Gives false if the job was not known: an event says little of it.
  hear(event, now) {
    const before = this.get(event.jobId);
    this.put(fromEvent(event, before, now), before);
    return before !== undefined;
  }

  clear() {
    this.byId.clear();
    this.aside.clear();
    this.total = null;
    this.isKnown = false;
    this.changed(null, true);
  }

  sorted() {
    return [...this.byId.values()].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
  }

  counts() {
    const counts = {};
    for (const [name, { takes }] of Object.entries(FILTERS)) {
      counts[name] = 0;
      for (const job of this.byId.values()) counts[name] += takes(job) ? 1 : 0;
    }
    return counts;
  }

  // Whether a job is none of the list's, which holds the newest ones.
  isOlder({ createdAt }) {
    return this.isFull && [...this.byId.values()].every((job) => job.createdAt > createdAt);
  }

  put(job, before) {
    const isNew = before === undefined;
    (this.aside.has(job.id) ? this.aside : this.byId).set(job.id, job);
    if (isNew && this.total !== null) this.total += 1;
    if (isNew && this.byId.size > MOST) this.dropOldest();
    this.changed(job.id, isNew || before.status !== job.status || before.failedFiles !== job.failedFiles);
  }

  dropOldest() {
    const oldest = this.sorted().findLast((job) => !ACTIVE.has(job.status));
    if (oldest) this.byId.delete(oldest.id);
  }
}

// Bytes a second of late, null while unknown. `now` counts: who gets nothing gets slower.
export function rateOf(job, now) {
  if (job.status !== 'running') return null;
  const first = job.track.find((point) => point.time >= now - RATE_MS);
  const last = job.track.at(-1);
  if (first && last.time - first.time >= 1000) {
    return (last.bytes - first.bytes) / ((Math.max(now - 3000, last.time) - first.time) / 1000);
  }
  return null;
}

// Seconds until the job is done at the rate of late, or else at its mean; null while unknown, and
// beyond a year.
export function secondsLeft(job, now, serverNow) {
  if (job.status !== 'running' || job.totalBytes <= 0) return null;
  const elapsed = (serverNow - job.startedAt) / 1000;
  const mean = job.startedAt && elapsed > 0 ? job.bytes / elapsed : 0;
  const rate = rateOf(job, now) || mean;
  if (rate <= 0) return null;
  const left = Math.max(0, job.totalBytes - job.bytes) / rate;
  return left <= LONGEST_SECONDS_LEFT ? left : null;
}

function fromBrief(said, before, now) {
  return follow(before, now, {
    ...times(said),
    id: said.id,
    status: said.status,
    totalFiles: said.totalFiles,
    totalBytes: said.totalSizeBytes,
    files: said.completedFiles,
    failedFiles: said.failedFiles,
    bytes: said.completedSizeBytes,
    percentage: said.percentage,
    error: said.error,
    who: said.submittedBy ?? null,
  });
}

function fromFull(said, before, now) {
  return follow(before, now, {
    ...times(said),
    ...counters(said),
    id: said.id,
    error: said.error,
    who: said.submittedBy ?? null,
  });
}

// An event says when it happened, and of the times of a job only what follows from that.
function fromEvent(event, before, now) {
  const at = Date.parse(event.timestamp);
  const hasEnded = !ACTIVE.has(event.status);
  const started = event.status === 'pending' ? null : at;
  return follow(before, now, {
    ...counters(event),
    id: event.jobId,
    error: event.error,
    who: event.submittedBy ?? before?.who ?? null,
    createdAt: before?.createdAt ?? at,
    startedAt: before?.startedAt ?? started,
    completedAt: hasEnded ? (before?.completedAt ?? at) : null,
  });
}

function counters({ status, totalFiles, progress }) {
  return {
    status,
    totalFiles,
    totalBytes: progress.size.totalBytes,
    files: progress.files.completed,
    failedFiles: progress.files.failed,
    bytes: progress.size.completedBytes,
    percentage: progress.percentage,
  };
}

function times(said) {
  const parse = (text) => (text ? Date.parse(text) : null);
  return {
    createdAt: parse(said.createdAt),
    startedAt: parse(said.startedAt),
    completedAt: parse(said.completedAt),
  };
}

// What was seen of a running job: its bytes over the last seconds, its speed in MB/s over minutes.
function follow(before, now, job) {
  const track = before?.track ?? [];
  const speeds = before?.speeds ?? new Series();
  if (job.status === 'running') {
    const last = track.at(-1);
    const seconds = last ? (now - last.time) / 1000 : 0;
    if (seconds >= 0.5) speeds.add(now, Math.max(0, job.bytes - last.bytes) / seconds / MIB);
    if (!last || seconds >= 0.5) track.push({ time: now, bytes: job.bytes });
    while (track.length > 1 && track[0].time < now - 2 * RATE_MS) track.shift();
  }
  return { ...job, track, speeds };
}
