// Asks for the key, and says why it is asked for again.

import { byId, setText, show } from './dom.js';

export class KeyForm {
  // `entered(key)` and `forgotten()` are called when somebody has done so.
  constructor(session, entered, forgotten) {
    this.form = byId('key-form');
    this.field = byId('key');
    this.error = byId('key-error');
    this.forget = byId('forget-key');
    this.session = session;
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const key = this.field.value.trim();
      if (key) entered(key);
      else this.refuse('Type the key first');
    });
    this.forget.addEventListener('click', forgotten);
    this.draw();
  }

  draw() {
    const hasKey = this.session.key !== null;
    show(this.form, !hasKey);
    show(this.forget, hasKey);
    if (hasKey) this.field.value = '';
  }

  refuse(why) {
    this.draw();
    setText(this.error, why);
    if (why) {
      this.field.focus();
      this.field.select();
    }
  }
}
