// One job in full: progress, its own speed, its failed and running files. A panel at the side, or
// the whole screen where there is no side.

import { Chart } from './chart.js';
import { copyButton } from './copy_button.js';
import { button, byId, el, setClass, setText, show } from './dom.js';
import { FileList } from './file_list.js';
import { NOTHING, duration, moment, rate, shortId, shortRate, speed, unitOfRate } from './format.js';
import { ACTIVE, rateOf, secondsLeft } from './jobs.js';
import { CancelButton, bar, drawBars, stateOf } from './job_row.js';
import { Series } from './series.js';

const HAS_SIDE = matchMedia('(min-width: 70rem)');
const FACTS = ['Submitted', 'By', 'Started', 'Ended', 'Duration', 'Speed', 'Time left'];

export class JobDetail {
  // `act` has cancel(id) and closed(id).
  constructor(jobs, live, api, act, clock) {
    Object.assign(this, { jobs, live, act, clock });
    this.id = null;
    this.dialog = byId('detail');
    this.failed = new FileList(api, 'failed', 'Failed files', 'None has failed.');
    this.running = new FileList(api, 'running', 'Files being read', 'None at the moment.');
    this.build();
    this.form = byId('submit');
    this.hasFolded = false;
    this.dialog.addEventListener('cancel', (event) => { event.preventDefault(); this.close(); });
    this.dialog.addEventListener('keydown', (event) => event.key === 'Escape' && this.close());
    HAS_SIDE.addEventListener('change', () => this.id !== null && this.present());
    document.addEventListener('visibilitychange', () => document.hidden || this.refresh());
  }

  build() {
    this.title = el('h2', { id: 'detail-title', tabindex: -1 });
    this.state = el('p', { class: 'state' });
    this.error = el('p', { class: 'problem' });
    this.files = bar('Files');
    this.bytes = bar('Bytes');
    this.facts = new Map(FACTS.map((name) => [name, el('dd')]));
    const facts = [...this.facts].map(([name, value]) => el('div', {}, el('dt', {}, name), value));
    const figure = el('figure', { class: 'chart' });
    this.stop = el('div', { class: 'actions' });
    this.wholeId = el('code', { class: 'id' });
    const named = el('p', { class: 'named' }, this.wholeId, copyButton('Copy id', this.wholeId));
    const close = button('Close', { class: 'quiet' }, () => this.close());
    const head = el('div', { class: 'detail-head' }, this.title, close);
    const bars = [this.files.whole, this.bytes.whole];
    const lists = [this.running.node, this.failed.node];
    const list = el('dl', { class: 'facts' }, ...facts);
    this.dialog.append(head, named, this.state, this.error, ...bars, list, figure, this.stop, ...lists);
    this.chart = new Chart(figure, {
      title: 'Speed while watched', least: 1, gap: 30_000,
      write: rate, writeShort: shortRate, unit: unitOfRate, summarise: summariseSpeed,
    });
  }

  open(id) {
    if (this.id === null) this.foldForm();
    else this.leave();
    this.id = id;
    this.failed.show(id);
    this.running.show(id);
    this.cancelButton = new CancelButton(shortId(id), () => this.act.cancel(id));
    this.stop.replaceChildren(this.cancelButton.node);
    this.channel = { channel: 'job', jobId: id, files: true };
    this.live.subscribe(this.channel);
    this.refresh();
    this.present();
    this.draw();
    this.title.focus();
  }

  close() {
    if (this.id === null) return;
    const { id } = this;
    this.leave();
    this.dialog.close();
    if (this.hasFolded) this.form.open = true;
    this.act.closed(id);
  }

  // A job at the side stands below the form, which makes room.
  foldForm() {
    this.hasFolded = HAS_SIDE.matches && this.form.open;
    if (this.hasFolded) this.form.open = false;
  }

  leave() {
    this.live.unsubscribe(this.channel);
    this.failed.show(null);
    this.running.show(null);
    this.id = null;
  }

  present() {
    if (this.dialog.open) this.dialog.close();
    if (HAS_SIDE.matches) this.dialog.show();
    else this.dialog.showModal();
  }

  // Caught up after a lost connection, or looked at again: files may have ended unseen.
  refresh() {
    if (this.id === null) return;
    this.failed.refresh();
    this.running.refresh();
  }

  hear(message) {
    if (this.id === null || message.jobId !== this.id) return;
    if (message.type === 'file-completed') this.running.remove(message.filePath);
    if (message.type === 'file-failed') this.hearFailure(message);
    if (message.type === 'snapshot') this.refresh();
    if (message.type.startsWith('job-') && ACTIVE.has(message.status) === false) this.running.refresh();
  }

  hearFailure({ filePath, sizeBytes, error }) {
    this.running.remove(filePath);
    this.failed.add({ path: filePath, sizeBytes, error });
  }

  // The gateway does not have the job any more, or refuses to tell of it.
  refuse(sentence) {
    setText(this.error, sentence);
    show(this.error, true);
  }

  tick() {
    const job = this.id === null ? undefined : this.jobs.get(this.id);
    if (!job) return;
    this.draw();
    if (job.status === 'running') this.running.refresh();
  }

  draw() {
    const job = this.jobs.get(this.id);
    if (!job) return;
    const { now, server } = this.clock();
    const { sign, word, mood, trouble } = stateOf(job);
    setText(this.title, `Job ${shortId(job.id)}`);
    setText(this.wholeId, job.id);
    const ended = trouble === '' ? word : `${word}, ${trouble}`;
    setText(this.state, `${sign} ${ended} · ${job.percentage} % (mean of files and bytes)`);
    setClass(this.state, `state ${mood}`);
    setText(this.error, job.error ?? '');
    show(this.error, Boolean(job.error));
    drawBars(this.files, this.bytes, job);
    this.cancelButton.draw(ACTIVE.has(job.status));
    show(this.stop, ACTIVE.has(job.status));
    this.drawFacts(job, now, server);
    this.chart.draw(job.speeds ?? new Series(), now);
  }

  drawFacts(job, now, server) {
    const at = (time) => (time === null ? null : moment(time));
    const left = secondsLeft(job, now, server);
    const end = job.completedAt ?? (ACTIVE.has(job.status) ? server : null);
    this.fact('Submitted', at(job.createdAt));
    this.fact('By', this.jobs.hasNames ? job.who : null);
    this.fact('Started', at(job.startedAt));
    this.fact('Ended', at(job.completedAt));
    this.fact('Duration', job.startedAt && end ? duration((end - job.startedAt) / 1000) : null);
    this.fact('Speed', job.status === 'running' ? speed(rateOf(job, now)) : meanSpeed(job));
    this.fact('Time left', job.status === 'running' ? (left === null ? NOTHING : duration(left)) : null);
  }

  fact(name, value) {
    const node = this.facts.get(name);
    show(node.parentElement, value !== null);
    setText(node, value ?? '');
  }
}

function meanSpeed({ startedAt, completedAt, bytes }) {
  const seconds = startedAt && completedAt ? (completedAt - startedAt) / 1000 : 0;
  return seconds > 0 && bytes > 0 ? `${speed(bytes / seconds)} on average` : null;
}

function summariseSpeed(series) {
  const { values } = series;
  if (values.length === 0) return { value: '', words: 'Nothing was seen of it running yet' };
  return { value: rate(values.at(-1)), words: `peak ${rate(Math.max(...values))}` };
}
