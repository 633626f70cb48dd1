// The jobs beyond the newest ones: how many there are, and a way to one of them by its id.

import { byId, setText, show } from './dom.js';
import { count } from './format.js';

const SHORT_ID = /^[0-9a-f]{8,}$/i;

export class OlderJobs {
  // `act` has open(jobId) and keyRefused(why).
  constructor(api, jobs, act) {
    Object.assign(this, { api, jobs, act });
    this.form = byId('find-form');
    this.input = byId('find');
    this.form.addEventListener('submit', (event) => { event.preventDefault(); this.find(); });
    this.input.addEventListener('input', () => this.say(''));
  }

  // The list of jobs ends somewhere: ask how many there are in all.
  async countAll() {
    if (!this.jobs.isFull) return;
    try {
      this.jobs.countAll(await this.api.countJobs());
    } catch {
      // Without it the note says less; the next list asks again.
    }
  }

  draw() {
    show(this.form, this.jobs.isKnown);
    const { shown, total } = this.jobs;
    const all = total > shown ? ` of ${count(total)}` : '';
    setText(byId('older-note'), this.jobs.isFull ? `The newest ${count(shown)}${all} jobs are shown.` : '');
  }

  async find() {
    const typed = this.input.value.trim();
    if (typed === '') return this.say('Enter the id of a job.');
    const [listed, ...others] = this.jobs.beginningWith(typed.toLowerCase());
    if (listed && others.length === 0) return this.found(listed.id);
    if (SHORT_ID.test(typed)) return this.say('No job in the list begins so. To find an older one, enter its full id.');
    try {
      const job = await this.api.job(typed);
      this.jobs.take(job, Date.now());
      this.found(job.id);
    } catch (error) {
      if (error.status === undefined) throw error;
      this.say(`Not found. ${error.sentence}`);
      if (error.status === 401) this.act.keyRefused(error.message);
    }
    return undefined;
  }

  found(id) {
    this.say('');
    this.input.value = '';
    this.act.open(id);
  }

  say(words) {
    setText(byId('find-problem'), words);
  }
}
