// What the gateway says of itself, asked for slowly, and what is known of the time it has.

const EVERY_MS = 15_000;
const SOON_MS = 3000;

export class Health {
  // `changed()` is called after each look.
  constructor(api, changed) {
    this.api = api;
    this.changed = changed;
    this.report = null;
    this.monitors = null;
    this.offset = 0;
    document.addEventListener('visibilitychange', () => document.hidden || this.look());
  }

  // The gateway's time by our clock, which may go wrong.
  get serverNow() {
    return Date.now() + this.offset;
  }

  async look() {
    clearTimeout(this.waiting);
    this.waiting = null;
    const [report, monitors] = await Promise.allSettled([this.api.health(), this.api.monitors()]);
    this.report = report.value ?? null;
    this.monitors = monitors.value ?? null;
    if (this.report?.timestamp) this.offset = Date.parse(this.report.timestamp) - Date.now();
    this.changed();
    clearTimeout(this.waiting);
    const isWell = this.report?.status === 'healthy' && this.report.index?.status !== 'building';
    this.waiting = setTimeout(() => document.hidden || this.look(), isWell ? EVERY_MS : SOON_MS);
  }
}
