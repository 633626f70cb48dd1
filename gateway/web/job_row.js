// A job as a row of the list: what it is, how far, how fast, and a way to cancel it.

import { button, el, setAttribute, setClass, setText, show } from './dom.js';
import { age, count, duration, moment, shortId, size, speed } from './format.js';
import { ACTIVE, rateOf, secondsLeft } from './jobs.js';

const STATES = {
  pending: { sign: '○', word: 'Pending' },
  running: { sign: '▶', word: 'Running' },
  paused: { sign: 'Ⅱ', word: 'Paused' },
  completed: { sign: '✓', word: 'Completed' },
  failed: { sign: '✕', word: 'Failed' },
  cancelled: { sign: '⊘', word: 'Cancelled' },
};

const SURE_MS = 5000;

// What a job's state is called, and how many of its files failed; `mood`: the class that colours it.
export function stateOf({ status, failedFiles }) {
  const { sign, word } = STATES[status] ?? { sign: '?', word: status };
  const trouble = failedFiles > 0 ? `${count(failedFiles)} failed` : '';
  if (status === 'completed' && trouble) return { sign: '⚠\ufe0e', word, mood: 'completed troubled', trouble };
  return { sign, word, mood: status, trouble };
}

// A bar with words above it: how far, and of what.
export function bar(label) {
  const parts = {
    fill: el('span', { class: 'fill' }),
    failed: el('span', { class: 'fill failed' }),
    done: el('span'),
    unit: el('span', { class: 'unit' }),
  };
  const range = { 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 };
  const track = el('span', { class: 'track', role: 'progressbar', ...range }, parts.fill, parts.failed);
  const words = el('span', { class: 'words' }, parts.done, parts.unit);
  const whole = el('span', { class: 'bar' }, words, track);
  return { whole, draw: (...what) => drawBar({ track, ...parts }, ...what) };
}

function drawBar({ track, fill, failed, done, unit }, text, part, failedPart = 0, of = '') {
  setText(done, text);
  setText(unit, of);
  const key = `${part.toFixed(4)} ${failedPart.toFixed(4)}`;
  if (track.drawn === key) return;
  track.drawn = key;
  fill.style.transform = `scaleX(${part})`;
  failed.style.transform = `translateX(${part * 100}%) scaleX(${failedPart})`;
  setAttribute(track, 'aria-valuenow', Math.floor((part + failedPart) * 100));
  setAttribute(track, 'aria-valuetext', `${text}${of}`);
}

// The bars of a job, in files and in bytes.
export function drawBars(files, bytes, job) {
  const ofFiles = Math.max(1, job.totalFiles);
  const unit = job.totalFiles === 1 ? ' file' : ' files';
  const filesDone = within(job.files / ofFiles);
  files.draw(`${count(job.files)} of ${count(job.totalFiles)}`, filesDone, within(job.failedFiles / ofFiles), unit);
  // A job without known bytes goes by its files.
  const part = job.totalBytes > 0 ? job.bytes / job.totalBytes : job.files / ofFiles;
  bytes.draw(`${size(job.bytes)} of ${size(job.totalBytes)}`, within(part));
}

function within(part) {
  return Math.min(1, Math.max(0, part));
}

export class JobRow {
  constructor(job, { open, cancel }) {
    this.id = job.id;
    this.cancel = cancel;
    const short = shortId(job.id);
    this.sign = el('span', { class: 'sign', 'aria-hidden': true });
    this.word = el('span');
    this.comma = el('span');
    this.trouble = el('span', { class: 'trouble' });
    this.state = el('span', { class: 'state' }, this.sign, el('span', { class: 'said' }, this.word, this.comma, this.trouble));
    this.name = button(short, { class: 'name', 'aria-label': `Job ${short}, details` }, () => open(job.id));
    this.who = el('span', { class: 'who' });
    this.files = bar(`Files of job ${short}`);
    this.bytes = bar(`Bytes of job ${short}`);
    this.speed = el('span', { class: 'figure speed' });
    this.left = el('span', { class: 'figure left' });
    this.age = el('span', { class: 'figure age' });
    this.stop = new CancelButton(short, () => cancel(job.id));
    const named = el('span', { class: 'job' }, this.name, this.who);
    const figures = [this.speed, this.left, this.age];
    this.node = el('li', { class: 'row', title: job.id }, this.state, named, this.files.whole, this.bytes.whole, ...figures, this.stop.node);
  }

  draw(job, clock, isChosen) {
    const { sign, word, mood, trouble } = stateOf(job);
    setText(this.sign, sign);
    setText(this.word, word);
    setText(this.comma, trouble && ', ');
    setText(this.trouble, trouble);
    setClass(this.node, `row ${mood}${isChosen ? ' chosen' : ''}`);
    setAttribute(this.name, 'aria-expanded', isChosen);
    setText(this.who, job.who ?? '');
    drawBars(this.files, this.bytes, job);
    this.stop.draw(ACTIVE.has(job.status));
    this.tick(job, clock);
  }

  // What moves by itself.
  tick(job, clock) {
    const rate = rateOf(job, clock.now);
    setText(this.speed, rate === null ? '' : speed(rate));
    const left = secondsLeft(job, clock.now, clock.server);
    setText(this.left, left === null ? '' : `${duration(left)} left`);
    setText(this.age, `${age((clock.server - job.createdAt) / 1000)} ago`);
    if (!this.age.title) this.age.title = moment(job.createdAt);
  }
}

// Cancels after a second press: the first one asks.
export class CancelButton {
  constructor(short, cancel) {
    this.short = short;
    this.node = button('Cancel', { class: 'quiet cancel' }, () => (this.isAsking ? this.go(cancel) : this.ask()));
    this.calm();
    this.node.addEventListener('blur', () => this.calm());
  }

  ask() {
    this.isAsking = true;
    setText(this.node, 'Really?');
    this.node.setAttribute('aria-label', `Really cancel job ${this.short}?`);
    this.node.classList.add('asking');
    this.timer = setTimeout(() => this.calm(), SURE_MS);
  }

  calm() {
    clearTimeout(this.timer);
    this.isAsking = false;
    setText(this.node, 'Cancel');
    this.node.setAttribute('aria-label', `Cancel job ${this.short}`);
    this.node.classList.remove('asking');
  }

  async go(cancel) {
    this.calm();
    this.node.disabled = true;
    await cancel();
    this.node.disabled = false;
  }

  draw(canBeCancelled) {
    show(this.node, canBeCancelled);
  }
}
