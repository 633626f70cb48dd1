// A line chart of the last ten minutes in SVG: axes, a summary in words, and a hand to read single
// points with, by pointer or with the arrow keys.

import { el, setAttribute, setText, svg } from './dom.js';
import { clock, count } from './format.js';
import { WINDOW_MS } from './series.js';

const MARGIN = { top: 0.625, right: 0.625, bottom: 1.375, left: 3.375 };
const MINUTES = [10, 8, 6, 4, 2, 0];
const FEW_MINUTES = [10, 5, 0];
const GAP_MS = 15_000;

export class Chart {
  // `write` makes a value into words, `writeShort` one of the axis; `unit(value)`: of what the axis
  // counts round figures when it reaches to a value; `summarise(series, now)` the sentence below the title.
  constructor(figure, { title, name, write, writeShort = count, unit = () => 1, least, summarise, gap = GAP_MS }) {
    Object.assign(this, { write, writeShort, unit, least, summarise, gap });
    this.series = null;
    this.chosen = null;
    this.size = { width: 0, height: 0 };
    this.margin = marginInPixels();
    this.build(figure, title, name);
    new ResizeObserver(([entry]) => this.resize(entry.contentRect)).observe(this.frame);
  }

  build(figure, title, name) {
    this.value = el('span', { class: 'chart-value' });
    this.words = el('span', { class: 'chart-words' });
    this.picture = svg('svg', { role: 'img', tabindex: 0, 'aria-label': title });
    this.readout = el('output', { class: 'readout', 'aria-live': 'polite' });
    this.frame = el('div', { class: 'plot' }, this.picture, this.readout);
    const heading = el('h2', {}, title);
    figure.append(el('figcaption', {}, heading, this.value, this.words), this.frame);
    this.name = name ?? title;
    this.grid = svg('g', { class: 'grid' });
    this.area = svg('path', { class: 'area' });
    this.line = svg('path', { class: 'line' });
    this.failures = svg('g', { class: 'failures' });
    this.hand = svg('g', { class: 'hand' });
    this.picture.append(this.grid, this.area, this.line, this.failures, this.hand);
    this.picture.addEventListener('pointermove', (event) => this.point(event));
    this.picture.addEventListener('pointerleave', () => this.choose(null));
    this.picture.addEventListener('blur', () => this.choose(null));
    this.picture.addEventListener('keydown', (event) => this.step(event));
  }

  resize({ width, height }) {
    this.size = { width: Math.floor(width), height: Math.floor(height) };
    this.margin = marginInPixels();
    if (this.series) this.draw(this.series, this.now);
  }

  draw(series, now) {
    Object.assign(this, { series, now });
    series.trim(now);
    const { value, words } = this.summarise(series, now);
    setText(this.value, value);
    setText(this.words, words);
    setAttribute(this.picture, 'aria-label', `${this.name}: ${value}. ${words}`);
    if (this.size.width < 80) return;
    this.top = this.ceiling(Math.max(this.least, ...series.values));
    this.drawGrid();
    this.drawLine();
    this.drawHand();
  }

  ceiling(value) {
    const unit = this.unit(value);
    return niceCeiling(value / unit) * unit;
  }

  drawGrid() {
    const { width, height } = this.size;
    const key = `${width} ${height} ${this.top}`;
    if (this.drawnGrid === key) return;
    this.drawnGrid = key;
    this.picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const marks = [0, 0.5, 1].flatMap((part) => this.drawLevel(part * this.top));
    const minutes = width < 560 ? FEW_MINUTES : MINUTES;
    this.grid.replaceChildren(...marks, ...minutes.map((minute) => this.drawMinute(minute)));
  }

  drawLevel(level) {
    const y = Math.round(this.y(level)) + 0.5;
    const label = svg('text', { x: this.margin.left - 8, y: y + 4, 'text-anchor': 'end' });
    label.textContent = this.writeShort(level);
    const line = svg('line', { x1: this.margin.left, x2: this.size.width - this.margin.right, y1: y, y2: y });
    return [line, label];
  }

  drawMinute(minute) {
    const x = this.x(this.now - minute * 60_000);
    const anchor = minute === 0 ? 'end' : minute === 10 ? 'start' : 'middle';
    const label = svg('text', { x, y: this.size.height - 5, 'text-anchor': anchor });
    label.textContent = minute === 0 ? 'now' : `−${minute} min`;
    return label;
  }

  drawLine() {
    const runs = this.runs();
    const at = ({ time, value }) => `${this.x(time).toFixed(1)} ${this.y(value).toFixed(1)}`;
    const floor = this.y(0).toFixed(1);
    // A lone point is a line without length, which a round cap makes visible.
    const line = runs.map((run) => `M${run.map(at).join('L')}${run.length === 1 ? 'h0.01' : ''}`);
    const area = runs.map((run) =>
      `M${this.x(run[0].time).toFixed(1)} ${floor}L${run.map(at).join('L')}V${floor}Z`);
    this.line.setAttribute('d', line.join(''));
    this.area.setAttribute('d', area.join(''));
    const failed = this.series.points.filter((point) => point.value === null);
    this.failures.replaceChildren(...failed.map(({ time }) => this.drawFailure(this.x(time))));
  }

  drawFailure(x) {
    const y = this.y(0) - 6;
    return svg('path', { d: `M${x - 3} ${y - 3}l6 6m0 -6l-6 6` });
  }

  // The points without those between which nothing was measured for long.
  runs() {
    const runs = [];
    let last = null;
    for (const point of this.series.points) {
      if (point.value === null) {
        last = null;
        continue;
      }
      if (last && point.time - last.time <= this.gap) runs.at(-1).push(point);
      else runs.push([point]);
      last = point;
    }
    return runs;
  }

  drawHand() {
    const point = this.chosen && this.series.points.find(({ slot }) => slot === this.chosen);
    if (!point) {
      this.hand.replaceChildren();
      setText(this.readout, '');
      return;
    }
    const x = this.x(point.time);
    const line = svg('line', { x1: x, x2: x, y1: this.margin.top, y2: this.y(0) });
    const dot = point.value === null ? [] : [svg('circle', { cx: x, cy: this.y(point.value), r: 4 })];
    this.hand.replaceChildren(line, ...dot);
    const said = point.value === null ? 'failed' : this.write(point.value);
    setText(this.readout, `${clock(point.time)} · ${said}`);
  }

  point({ offsetX }) {
    const time = this.now - WINDOW_MS * (1 - (offsetX - this.margin.left) / this.innerWidth);
    const points = this.series?.points ?? [];
    const distance = (point) => Math.abs(point.time - time);
    this.choose(points.reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null));
  }

  step(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const points = this.series?.points ?? [];
    if (event.key === 'Escape' && this.chosen !== null) this.choose(null);
    else if (step && points.length) this.choose(points[this.indexAfter(step, points)]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  indexAfter(step, points) {
    const at = points.findIndex(({ slot }) => slot === this.chosen);
    const from = at < 0 ? points.length : at;
    return Math.min(points.length - 1, Math.max(0, from + step));
  }

  choose(point) {
    this.chosen = point?.slot ?? null;
    if (this.series) this.drawHand();
  }

  get innerWidth() {
    return this.size.width - this.margin.left - this.margin.right;
  }

  x(time) {
    return this.margin.left + this.innerWidth * (1 - (this.now - time) / WINDOW_MS);
  }

  y(value) {
    const height = this.size.height - this.margin.top - this.margin.bottom;
    return this.margin.top + height * (1 - value / this.top);
  }
}

function marginInPixels() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return Object.fromEntries(Object.entries(MARGIN).map(([side, wide]) => [side, wide * rem]));
}

// The next of 1, 2, 5, 10, 20, … so that half of it is a round figure, too.
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}
