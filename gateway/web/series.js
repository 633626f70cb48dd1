// Ten minutes of a figure, in slots of two seconds: the mean of what came within each.

export const WINDOW_MS = 600_000;
const SLOT_MS = 2000;

export class Series {
  constructor() {
    this.points = [];
  }

  // `value` null: it was measured, and there was none (a check that failed).
  add(time, value) {
    const slot = Math.floor(time / SLOT_MS);
    const last = this.points.at(-1);
    if (last?.slot === slot) {
      merge(last, time, value);
    } else {
      this.points.push({ slot, time, value, weight: value === null ? 0 : 1 });
      this.trim(time);
    }
  }

  trim(now) {
    const first = this.points.findIndex((point) => point.time >= now - WINDOW_MS);
    if (first > 0) this.points.splice(0, first);
    else if (first < 0) this.points.length = 0;
  }

  get values() {
    return this.points.filter((point) => point.value !== null).map((point) => point.value);
  }

  get last() {
    return this.points.at(-1) ?? null;
  }
}

function merge(point, time, value) {
  point.time = time;
  if (value === null) return;
  point.value = ((point.value ?? 0) * point.weight + value) / (point.weight + 1);
  point.weight += 1;
}
