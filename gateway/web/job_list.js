// The list of jobs: a row for each, made when it is first wanted and kept. Only what has changed
// is drawn, at most once a frame, and a thousand rows are made over several frames.

import { byId, button, el, setAttribute, setText, show } from './dom.js';
import { count } from './format.js';
import { ACTIVE, FILTERS } from './jobs.js';
import { JobRow } from './job_row.js';

export class JobList {
  // `act` has open(id) and cancel(id); `clock()` gives {now, server}.
  constructor(jobs, frames, act, clock) {
    Object.assign(this, { jobs, frames, act, clock });
    this.rows = new Map();
    this.dirty = new Set();
    this.isShuffled = true;
    this.filter = 'all';
    this.chosen = null;
    this.list = byId('rows');
    this.work = (hasTime) => this.draw(hasTime);
    this.ticking = (hasTime) => this.tickSome(hasTime);
    this.filters = new Map(Object.keys(FILTERS).map((name) => [name, this.makeFilter(name)]));
  }

  // Draw a job anew, or all of them (null); `isShuffled`: the list itself may be another one.
  changed(id, isShuffled) {
    if (id === null) for (const known of this.rows.keys()) this.dirty.add(known);
    else this.dirty.add(id);
    this.isShuffled ||= isShuffled;
    this.frames.ask(this.work);
  }

  choose(id) {
    for (const changed of [this.chosen, id]) if (changed !== null) this.dirty.add(changed);
    this.chosen = id;
    this.frames.ask(this.work);
  }

  // Gives whether the job has a row to focus.
  focus(id) {
    this.rows.get(id)?.name.focus();
    return this.rows.has(id);
  }

  // Once a second: ages, and speeds that fall while nothing comes. As many rows a frame as fit.
  tick() {
    this.toTick = this.rows.values();
    this.frames.ask(this.ticking);
  }

  tickSome(hasTime) {
    const clock = this.clock();
    while (hasTime()) {
      const { done, value: row } = this.toTick.next();
      if (done) return false;
      const job = this.jobs.get(row.id);
      if (job) row.tick(job, clock);
    }
    return true;
  }

  draw(hasTime) {
    const clock = this.clock();
    for (const id of this.dirty) this.drawRow(id, clock);
    this.dirty.clear();
    const more = this.isShuffled && this.arrange(clock, hasTime);
    this.isShuffled = more;
    return more;
  }

  drawRow(id, clock) {
    const job = this.jobs.get(id);
    const row = this.rows.get(id);
    if (row && job) row.draw(job, clock, id === this.chosen);
  }

  // Put the rows in order; gives true when time ran out before all were made.
  arrange(clock, hasTime) {
    const { takes } = FILTERS[this.filter];
    const wanted = this.jobs.sorted().filter(takes);
    this.drawAround(wanted.length);
    this.dropOthers(new Set(wanted.map((job) => job.id)));
    let next = this.list.firstChild;
    let made = 0;
    for (const job of wanted) {
      const known = this.rows.get(job.id);
      if (!known && made > 0 && !hasTime()) return true;
      if (!known) made += 1;
      const node = (known ?? this.make(job, clock)).node;
      if (node === next) next = next.nextSibling;
      else this.list.insertBefore(node, next);
    }
    return false;
  }

  make(job, clock) {
    const row = new JobRow(job, this.act);
    row.draw(job, clock, job.id === this.chosen);
    this.rows.set(job.id, row);
    return row;
  }

  dropOthers(wanted) {
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.node.remove();
        this.rows.delete(id);
      }
    }
  }

  drawAround(shown) {
    const counts = this.jobs.counts();
    setText(this.filters.get('all').label, this.jobs.total > counts.all ? 'Newest' : FILTERS.all.label);
    for (const [name, { number, option }] of this.filters) {
      setText(number, count(counts[name]));
      setAttribute(option, 'aria-pressed', name === this.filter);
    }
    show(byId('filter'), this.jobs.isKnown);
    show(byId('columns'), this.jobs.isKnown && shown > 0);
    show(byId('empty'), this.jobs.isKnown && shown === 0);
    setText(byId('empty'), counts.all === 0
      ? 'No jobs yet. Paste the paths of what people will need into “Cache files”.'
      : `None of the ${count(counts.all)} newest jobs comes under “${FILTERS[this.filter].label}”.`);
    this.list.classList.toggle('same-key', !this.jobs.hasNames);
    const active = [...this.jobs.byId.values()].filter((job) => ACTIVE.has(job.status)).length;
    document.title = active > 0 ? `(${active}) TeamCache gateway` : 'TeamCache gateway';
  }

  makeFilter(name) {
    const number = el('span', { class: 'number' });
    const option = button('', { 'aria-pressed': name === 'all' }, () => {
      this.filter = name;
      this.changed(null, true);
    });
    const label = el('span');
    setText(label, FILTERS[name].label);
    option.append(label, ' ', number);
    byId('filter').append(option);
    return { option, label, number };
  }
}
