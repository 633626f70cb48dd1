// The files of a job that fail or are just being read: asked for seldom, and kept up by events.

import { el, setText } from './dom.js';
import { count, duration, size } from './format.js';

const REFRESH_MS = 5000;
const MOST = 50;

export class FileList {
  // `status`: which files; `describe(file)` what is said below a file's path.
  constructor(api, status, title, nothing) {
    Object.assign(this, { api, status, title, nothing });
    this.heading = el('h3', {});
    this.list = el('ul', { class: 'files' });
    this.note = el('p', { class: 'hint' });
    this.node = el('section', { 'aria-label': title }, this.heading, this.list, this.note);
    this.show(null);
  }

  show(jobId) {
    clearTimeout(this.waiting);
    Object.assign(this, { jobId, files: new Map(), total: 0, askedAt: -REFRESH_MS, waiting: null });
    this.draw(jobId === null ? '' : 'Loading …');
  }

  // Ask, but not more often than every five seconds, and not while nobody looks.
  refresh() {
    if (this.jobId === null || this.waiting !== null) return;
    const wait = Math.max(0, this.askedAt + REFRESH_MS - performance.now());
    this.waiting = setTimeout(() => this.ask(this.jobId), wait);
  }

  async ask(jobId) {
    if (document.hidden) {
      this.waiting = null;
      return;
    }
    this.askedAt = performance.now();
    try {
      const { files, total } = await this.api.files(jobId, this.status, MOST);
      if (jobId === this.jobId) this.take(files, total);
    } catch (error) {
      if (jobId === this.jobId) this.fail(error);
    }
    if (jobId === this.jobId) this.waiting = null;
  }

  take(files, total) {
    this.files = new Map(files.map((file) => [file.path, file]));
    this.total = total;
    this.draw();
  }

  fail(error) {
    if (error.retryAfter) this.askedAt = performance.now() + error.retryAfter * 1000 - REFRESH_MS;
    this.draw(error.status === 404 ? 'This gateway does not list the files of jobs.' : error.sentence);
  }

  add(file) {
    if (!this.files.has(file.path)) this.total += 1;
    this.files.set(file.path, file);
    this.draw();
  }

  remove(path) {
    if (this.files.delete(path)) {
      this.total -= 1;
      this.draw();
    }
  }

  draw(note = null) {
    setText(this.heading, this.total > 0 ? `${this.title} (${count(this.total)})` : this.title);
    const shown = [...this.files.values()].slice(-MOST);
    this.list.replaceChildren(...shown.map(fileItem));
    const hidden = this.total - shown.length;
    const rest = hidden > 0 ? `and ${count(hidden)} more` : '';
    setText(this.note, note ?? (shown.length === 0 ? this.nothing : rest));
  }
}

function fileItem(file) {
  const [folder, name] = split(file.path);
  const path = el('span', { class: 'path' }, el('span', { class: 'folder' }, folder), name);
  return el('li', {}, path, el('span', { class: 'about' }, aboutFile(file)));
}

function split(path) {
  const end = path.lastIndexOf('/') + 1;
  return [path.slice(0, end), path.slice(end)];
}

function aboutFile({ error, bytesRead, sizeBytes, seconds }) {
  if (error) return error;
  const since = seconds === null || seconds === undefined ? '' : ` · for ${duration(seconds)}`;
  return bytesRead === undefined ? '' : `${size(bytesRead)} of ${size(sizeBytes)}${since}`;
}
