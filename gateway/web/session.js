// What this tab remembers until it is closed: the key. Private windows may refuse to keep it.

const KEY = 'teamcache-gateway-key';

export class Session {
  constructor() {
    this.key = read();
  }

  remember(key) {
    this.key = key;
    attempt(() => sessionStorage.setItem(KEY, key));
  }

  forget() {
    this.key = null;
    attempt(() => sessionStorage.removeItem(KEY));
  }
}

function read() {
  return attempt(() => sessionStorage.getItem(KEY)) || null;
}

function attempt(act) {
  try {
    return act();
  } catch {
    return null;
  }
}
