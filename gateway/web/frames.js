// Work of the screen, done once a frame however often it is asked for.

const BUDGET_MS = 6;

export class Frames {
  constructor() {
    this.wanted = new Set();
    this.asked = false;
  }

  // Do `work` in the next frame. If it gives true there is more to do, in the frame after.
  ask(work) {
    this.wanted.add(work);
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => this.run());
  }

  run() {
    this.asked = false;
    const works = [...this.wanted];
    this.wanted.clear();
    const deadline = performance.now() + BUDGET_MS;
    const hasTime = () => performance.now() < deadline;
    for (const work of works) {
      if (work(hasTime) === true) this.ask(work);
    }
  }
}
