// Brings the parts of the page together: what is heard goes to those whom it concerns.

import { Api } from './api.js';
import { Chart } from './chart.js';
import { byId, setText, show } from './dom.js';
import { clock as clockTime, duration, milliseconds, rate, shortRate, unitOfRate } from './format.js';
import { Frames } from './frames.js';
import { Health } from './health.js';
import { JobDetail } from './job_detail.js';
import { JobList } from './job_list.js';
import { Jobs } from './jobs.js';
import { KeyForm } from './key_form.js';
import { Live } from './live.js';
import { OlderJobs } from './older_jobs.js';
import { Series } from './series.js';
import { Session } from './session.js';
import { Status, describeSilence } from './status.js';
import { SubmitForm } from './submit_form.js';

const JOBS = { channel: 'jobs' };
const CATCH_UP_MS = 15_000;
const FIRST_CATCH_UP_MS = 300;

const root = new URL('.', document.baseURI);
const session = new Session();
const frames = new Frames();
const api = new Api(root, session);
const throughput = { series: new Series(), last: null };
const s3 = { series: new Series(), last: null };
const catchUp = { timer: null, at: -CATCH_UP_MS };
let lostAt = null;

const clock = () => ({ now: Date.now(), server: health.serverNow });
const health = new Health(api, () => drawStatus());
const status = new Status(byId('status'));
const jobs = new Jobs((id, isShuffled) => {
  list.changed(id, isShuffled);
  if (id === null || id === detail.id) frames.ask(drawDetail);
  if (isShuffled) frames.ask(drawOlder);
});
const list = new JobList(jobs, frames, { open, cancel }, clock);
const live = new Live(socketUrl(), session, {
  message: hear,
  state: connectionChanged,
  keyAccepted: () => keyForm.refuse(''),
  keyRefused,
  problem: (sentence, channel) => (channel?.jobId ? detail.refuse(sentence) : setText(byId('jobs-problem'), sentence)),
});
const detail = new JobDetail(jobs, live, api, { cancel, closed }, clock);
const older = new OlderJobs(api, jobs, { open, keyRefused });
const keyForm = new KeyForm(session, useKey, () => keyRefused(''));
const submitForm = new SubmitForm(api, session, {
  open, keyRefused, needKey: () => keyForm.refuse('The key is asked for here'), submitted: () => wantCatchUp(),
});

const throughputChart = new Chart(byId('throughput-chart'), {
  title: 'Throughput', name: 'Throughput of the last 10 minutes', least: 1,
  write: rate, writeShort: shortRate, unit: unitOfRate,
  summarise: (series, now) => summariseThroughput(series, now),
});
const s3Chart = new Chart(byId('s3-chart'), {
  title: 'S3 latency', name: 'S3 latency of the last 10 minutes', least: 10, gap: 60_000,
  write: milliseconds,
  summarise: (series) => summarise(series, milliseconds, 'of each check of the bucket, none yet'),
});

// While nothing comes the last sample is none of now.
function summariseThroughput(series, now) {
  const silence = describeSilence({ health, throughput: throughput.last, now });
  const said = summarise(series, rate, 'waiting for the next sample');
  if (silence === null) return said;
  return { value: '–', words: series.values.length > 0 ? `${silence} · ${said.words}` : silence };
}

// `nothing`: what is said while there are no samples.
function summarise({ values, points }, write, nothing) {
  if (values.length === 0) return { value: '–', words: nothing };
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const failed = points.filter((point) => point.value === null).length;
  const failures = failed > 0 ? ` · ${failed} failed` : '';
  const latest = points.at(-1).value;
  const words = `mean ${write(mean)} · peak ${write(Math.max(...values))}${failures}`;
  return { value: latest === null ? 'failed' : write(latest), words };
}

function socketUrl() {
  const url = new URL('ws', root);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

function hear(message) {
  const now = Date.now();
  if (message.lucidLink?.timestamp) hearThroughput(message, now);
  if (message.s3Health) hearS3(message.s3Health, now);
  if (message.type === 'snapshot' && message.jobs) hearJobs(message.jobs, now);
  else if (message.type === 'snapshot') jobs.take(message.job, now);
  else if (message.type === 'events-dropped') wantCatchUp();
  else if (message.type.startsWith('job-') && !jobs.hear(message, now)) wantCatchUp();
  detail.hear(message);
}

// The first message holds the last sample, which may be old: it is none of now.
function hearThroughput({ type, lucidLink }, now) {
  const age = type === 'metrics' ? Math.max(0, health.serverNow - Date.parse(lucidLink.timestamp)) : 0;
  throughput.last = { time: now - age, value: lucidLink.throughputMbps };
  if (age < 2000) throughput.series.add(now, lucidLink.throughputMbps);
  frames.ask(drawStatus);
}

function hearS3(said, now) {
  if (said.lastCheck && said.lastCheck !== s3.last?.lastCheck) {
    s3.series.add(now, said.isHealthy ? said.latency : null);
  }
  s3.last = said;
  frames.ask(drawStatus);
}

function hearJobs(said, now) {
  setText(byId('jobs-problem'), '');
  jobs.replace(said, now);
  older.countAll();
  if (lostAt !== null) announce('Connected again, and up to date');
  lostAt = null;
}

// An event says less of a new job than the list: look at it soon, but not at every one.
function wantCatchUp() {
  if (catchUp.timer !== null) return;
  const wait = Math.max(FIRST_CATCH_UP_MS, catchUp.at + CATCH_UP_MS - performance.now());
  catchUp.timer = setTimeout(() => {
    catchUp.timer = null;
    catchUp.at = performance.now();
    if (session.key !== null) live.subscribe(JOBS);
  }, wait);
}

function useKey(key) {
  session.remember(key);
  keyForm.draw();
  if (live.state === 'open') {
    live.authenticate();
  } else {
    live.retryNow();
  }
}

function keyRefused(why) {
  detail.close();
  session.forget();
  live.unsubscribe(JOBS);
  live.isAuthenticated = false;
  jobs.clear();
  live.channels.set('jobs', JOBS);
  keyForm.refuse(why);
}

function open(id) {
  detail.open(id);
  list.choose(id);
}

function closed(id) {
  list.choose(null);
  if (!list.focus(id)) byId('find').focus();
}

async function cancel(id) {
  try {
    await api.cancel(id);
    announce('Job cancelled');
    setText(byId('jobs-problem'), '');
  } catch (error) {
    setText(byId('jobs-problem'), `Not cancelled. ${error.sentence}`);
    if (error.status === 401) keyRefused(error.message);
  }
}

function connectionChanged(state) {
  if (state === 'waiting' && lostAt === null) {
    lostAt = Date.now();
    announce('Connection lost. Trying to connect again');
  }
  if (state === 'open' && session.key === null && lostAt !== null) {
    announce('Connected again');
    lostAt = null;
  }
  if (state === 'open') health.look();
  drawStatus();
}

function announce(words) {
  setText(byId('announcer'), words);
}

function drawStatus() {
  status.draw({ live, health, s3: s3.last, throughput: throughput.last, now: Date.now() });
  drawBanner();
}

function drawBanner() {
  const isLost = live.state !== 'open' && lostAt !== null;
  show(byId('banner'), isLost);
  document.body.classList.toggle('stale', isLost);
  if (!isLost) return;
  const seconds = live.state === 'waiting' ? Math.max(1, Math.ceil((live.retryAt - Date.now()) / 1000)) : 0;
  const next = seconds > 0 ? `Trying again in ${duration(seconds)}.` : 'Connecting …';
  setText(byId('banner-text'), `Connection lost. What you see is from ${clockTime(lostAt)}. ${next}`);
}

function drawDetail() {
  detail.draw();
}

function drawOlder() {
  older.draw();
}

function tick() {
  if (document.hidden) return;
  drawStatus();
  list.tick();
  detail.tick();
  throughputChart.draw(throughput.series, Date.now());
  s3Chart.draw(s3.series, Date.now());
}

byId('retry').addEventListener('click', () => live.retryNow());
if (!matchMedia('(min-width: 70rem)').matches) byId('submit').open = false;
live.channels.set('jobs', JOBS);
live.connect();
setInterval(() => frames.ask(tick), 1000);
tick();
