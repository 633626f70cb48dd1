// Submits what somebody pastes, after showing what each line was resolved to.

import { byId, button, el, setText, show } from './dom.js';
import { count, plural, shortId, size } from './format.js';
import { looksLikeFolder, readPaths } from './path_lines.js';

const MOST_CHECKED = 10_000;
const MOST_SHOWN = 500;

export class SubmitForm {
  // `act` has open(jobId), submitted(answer), needKey() and keyRefused(why).
  constructor(api, session, act) {
    Object.assign(this, { api, session, act });
    this.text = byId('paths');
    this.recursive = byId('recursive');
    this.checkButton = byId('check');
    this.sendButton = byId('send');
    this.result = byId('submit-result');
    this.list = byId('resolved');
    this.checked = null;
    byId('submit-form').addEventListener('submit', (event) => { event.preventDefault(); this.check(); });
    this.sendButton.addEventListener('click', () => this.send());
    this.text.addEventListener('input', () => this.forgetCheck());
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.check();
    });
  }

  async check() {
    const paths = readPaths(this.text.value);
    if (paths.length === 0) return this.say('problem', 'Paste at least one path.');
    if (this.session.key === null) {
      this.say('problem', 'Caching needs the API key.');
      return this.act.needKey();
    }
    if (paths.length > MOST_CHECKED) {
      return this.showChecked(paths.map(unchecked), `More than ${count(MOST_CHECKED)} paths are not checked one by one.`);
    }
    await this.busy(async () => this.showChecked(...(await this.resolve(paths))));
    if (!this.sendButton.hidden) this.sendButton.focus();
    return undefined;
  }

  // What each path is; where the gateway cannot say, what it is taken for.
  async resolve(paths) {
    try {
      return [await this.api.resolve(paths), ''];
    } catch (error) {
      if (error.status !== 404) throw error;
      return [paths.map(unchecked), 'This gateway cannot check paths: they are sent as they are.'];
    }
  }

  showChecked(checked, note) {
    this.checked = checked;
    const good = checked.filter(({ error }) => !error);
    const refused = checked.length - good.length;
    this.list.replaceChildren(...checked.slice(0, MOST_SHOWN).map(resolvedItem));
    if (checked.length > MOST_SHOWN) this.list.append(el('li', {}, `and ${count(checked.length - MOST_SHOWN)} more`));
    show(this.list, true);
    show(this.sendButton, good.length > 0);
    setText(this.sendButton, refused ? `Cache the other ${count(good.length)}` : 'Cache these');
    const taken = good.length > 0 ? `${plural(good.length, 'path')} can be cached.` : '';
    const refusals = refused > 0 ? `${plural(refused, 'path')} refused.` : '';
    this.say(refused ? 'problem' : 'fine', [note, taken, refusals].filter(Boolean).join(' '));
  }

  async send() {
    const good = (this.checked ?? []).filter(({ error }) => !error);
    const isFolder = ({ type, path }) => (type ? type === 'directory' : looksLikeFolder(path));
    const names = (items) => items.map(({ path }) => path);
    const folders = names(good.filter(isFolder));
    const files = names(good.filter((item) => !isFolder(item)));
    await this.busy(async () => this.sent(await this.api.submit(files, folders, this.recursive.checked)));
  }

  sent(answer) {
    this.text.value = '';
    this.forgetCheck();
    this.act.submitted(answer);
    const { jobId, totalFiles, totalSize, unindexed = [] } = answer;
    this.say('fine', `Job ${shortId(jobId)}: ${plural(totalFiles, 'file')}, ${totalSize.readable}. `);
    this.result.firstChild.append(button('Show it', { class: 'link' }, () => this.act.open(jobId)));
    const why = 'not in the index: read all the same';
    this.list.replaceChildren(...unindexed.slice(0, MOST_SHOWN).map((path) => item(path, why, 'unsure')));
    show(this.list, unindexed.length > 0);
    this.text.focus();
  }

  async busy(act) {
    this.checkButton.disabled = this.sendButton.disabled = true;
    try {
      await act();
    } catch (error) {
      this.fail(error);
    }
    this.checkButton.disabled = this.sendButton.disabled = false;
  }

  fail(error) {
    if (error.status === undefined) throw error;
    const details = explain(error.details);
    // The sentence names the first path alone, which stands below with the others.
    this.say('problem', details.length > 0 ? `Nothing is cached: ${plural(details.length, 'path')} refused.` : error.sentence);
    if (details.length > 0) {
      this.list.replaceChildren(...details);
      show(this.list, true);
    }
    if (error.status === 401) this.act.keyRefused(error.message);
  }

  forgetCheck() {
    this.checked = null;
    show(this.sendButton, false);
    show(this.list, false);
    this.result.replaceChildren();
  }

  say(kind, words) {
    this.result.replaceChildren(el('p', { class: kind }, words));
  }
}

function unchecked(path) {
  return { path, resolved: null, type: null, size: null, error: null, isUnchecked: true };
}

function resolvedItem({ path, resolved, sendable, filespace, type, size: bytes, indexed, error, isUnchecked }) {
  if (error) return item(path, error, 'refused');
  if (isUnchecked) return item(path, `sent as a ${looksLikeFolder(path) ? 'folder' : 'file'}`, 'unsure');
  const kind = { file: 'File', directory: 'Folder' }[type] ?? 'Not known to the index';
  const words = [kind, bytes === null ? '' : size(bytes), type && !indexed ? 'not in the index yet' : ''];
  const place = resolved === '' ? `the whole filespace ${filespace}` : sendable;
  return item(path, `→ ${place} · ${words.filter(Boolean).join(' · ')}`, type ? 'good' : 'unsure');
}

function item(path, words, mood) {
  const sign = { good: '✓', unsure: '?', refused: '✕' }[mood];
  return el('li', { class: mood }, el('span', { class: 'sign', 'aria-hidden': true }, sign),
    el('span', { class: 'path' }, path), el('span', { class: 'about' }, words));
}

// The details of a refusal: sentences, names, or an object of a path and the reason each.
function explain(details) {
  if (details === null || typeof details !== 'object') return [];
  const pairs = Object.entries(details).map(([path, reason]) => ({ path, reason }));
  const list = Array.isArray(details) ? details : pairs;
  return list.slice(0, MOST_SHOWN).map((one) => {
    if (typeof one !== 'object' || one === null) return item(String(one), '', 'refused');
    const { path, error, reason, ...rest } = one;
    return item(String(path ?? JSON.stringify(rest)), String(error ?? reason ?? ''), 'refused');
  });
}
